//! `rollcall dev`: a whole cluster on this machine, with something in it, in one command.
//!
//! The nodes are child processes of the same executable, so what a newcomer kills here is what runs in production. Their
//! data stays in a folder between starts. A node that dies is not restarted: seeing the cluster do without it is the
//! point, and the line that restarts it is printed.

pub(crate) mod catalogue;
mod child;
mod demo;
mod folder;
mod observe;
mod plan;
mod prospects;
mod ready;
mod tips;

use std::path::PathBuf;
use std::pin::pin;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::stop::stop_requested;
use crate::terminal::{ColorWhen, Paint, print};

use child::{Children, Ended};
use demo::Demo;
use folder::Found;
use plan::{NODES_MAX, Plan, shell_line};

/// Lines that wait to be printed; when full, the observers wait.
const LINES_MAX: usize = 1024;

/// Arguments of `rollcall dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  rollcall dev                        three nodes and the demo services
  rollcall dev --clean                the same from scratch
  rollcall dev --nodes 5 --no-demo    five nodes and an empty catalogue

  A second cluster beside the first:
  rollcall dev --base-port 17400 --data-dir /tmp/second")]
pub(crate) struct DevArgs {
    /// Number of nodes
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = RangedU64ValueParser::<u16>::new().range(1..=u64::from(NODES_MAX)))]
    nodes: u16,
    /// Folder for data, logs and the cluster secret
    #[arg(long, default_value = "rollcall-dev", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Delete what the folder holds from earlier starts
    #[arg(long)]
    clean: bool,
    /// Start with an empty catalogue
    #[arg(long)]
    no_demo: bool,
    /// First port: node k has HTTP at base + 10(k-1) and peer one above; demo services begin at base + 100
    #[arg(long, default_value_t = 7400, value_name = "PORT")]
    base_port: u16,
    /// When to colour
    #[arg(long, value_enum, default_value_t, value_name = "WHEN")]
    color: ColorWhen,
}

/// Runs the cluster until Ctrl-C or SIGTERM, then stops everything.
///
/// # Errors
/// When it cannot be started. A node that dies later is told, not an error.
pub(crate) async fn run(args: DevArgs) -> Result<(), Failure> {
    let mut stop = pin!(stop_requested(false)?);
    // Absolute, so that the lines that are printed can be copied into a shell that is elsewhere.
    let folder = std::path::absolute(&args.data_dir)
        .map_err(|error| Failure::usage(format!("{} is no folder", args.data_dir.display())).because(&error))?;
    let plan = Plan::new(&folder, args.nodes, args.base_port)?;
    let demo = if args.no_demo { Demo::none() } else { Demo::load(plan.demo_port_base)? };
    plan.check_ports(&demo.ports())?;
    let found = folder::prepare(&plan, args.clean)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed("cannot find the path of this executable").because(&error))?;
    let mut dev =
        Dev { paint: args.color.stdout(), plan, demo, program, nodes: Children::new(), services: Children::new() };
    let result = tokio::select! {
        result = dev.live(found) => result,
        why = &mut stop => print(&format!("\n{} received, stopping\n", why.as_str())),
    };
    let stopped = dev.stop_all().await;
    result.and(stopped)
}

/// The running whole.
struct Dev {
    paint: Paint,
    plan: Plan,
    demo: Demo,
    program: PathBuf,
    /// By index in the plan.
    nodes: Children<usize>,
    /// By instance id.
    services: Children<String>,
}

impl Dev {
    /// Starts everything, then tells what happens. Only ends with a failure.
    async fn live(&mut self, found: Found) -> Result<(), Failure> {
        self.announce(found)?;
        let pids = self.start_nodes()?;
        ready::wait(&self.plan, &mut self.nodes, self.paint).await?;
        let ports = self.demo.start(&self.plan, &self.program, &mut self.services)?;
        self.demo.wait(&mut self.services, &ports).await?;
        let revision = self.demo.register(&self.plan, self.paint).await?;
        print(&tips::text(&self.plan, &pids, self.demo.degrading(), &self.program, self.paint))?;
        self.narrate(revision).await
    }

    fn announce(&self, found: Found) -> Result<(), Failure> {
        let (folder, count) = (self.plan.folder.display(), self.plan.nodes.len());
        print(&match found {
            Found::Nothing => format!("A new cluster of {count} node(s), data in {folder}\n"),
            Found::Cluster => format!("The cluster of {count} node(s) that was in {folder}\n"),
        })
    }

    fn start_nodes(&mut self) -> Result<Vec<u32>, Failure> {
        let nodes = self.plan.nodes.iter().enumerate();
        nodes
            .map(|(index, node)| {
                let arguments = self.plan.node_arguments(node);
                self.nodes
                    .start(index, &self.program, &arguments, &node.log_file())
                    .map_err(|error| Failure::failed(format!("cannot start {}", node.name)).because(&error))
            })
            .collect()
    }

    /// Prints what happens in the cluster and to the children, for as long as it is wanted.
    async fn narrate(&mut self, revision: u64) -> Result<(), Failure> {
        let (tx, mut lines) = mpsc::channel(LINES_MAX);
        // Both end when `lines` is dropped, and are aborted when this function is left.
        let mut observers = tokio::task::JoinSet::new();
        observers.spawn(observe::events(self.plan.clone(), revision, self.paint, tx.clone()));
        observers.spawn(observe::roles(self.plan.clone(), self.paint, tx.clone()));
        observers.spawn(prospects::follow(self.plan.clone(), self.paint, tx));
        loop {
            tokio::select! {
                Some(line) = lines.recv() => print(&format!("{line}\n"))?,
                ended = self.nodes.next_end() => print(&self.node_obituary(&ended))?,
                ended = self.services.next_end() => print(&self.service_obituary(&ended))?,
            }
        }
    }

    fn node_obituary(&self, ended: &Ended<usize>) -> String {
        let node = &self.plan.nodes[ended.which];
        let restart = shell_line(&self.program, &self.plan.node_arguments(node));
        format!(
            "{}\n  its log:     {}\n  restart it:  {restart}\n",
            self.paint.bad(format_args!("{} (pid {}) ended: {}", node.name, ended.pid, ended.reason())),
            node.log_file().display(),
        )
    }

    fn service_obituary(&self, ended: &Ended<String>) -> String {
        let line = format!("demo service {} (pid {}) ended: {}", ended.which, ended.pid, ended.reason());
        format!("{}\n", self.paint.bad(line))
    }

    async fn stop_all(&mut self) -> Result<(), Failure> {
        // The services first: they ask the nodes.
        let services = self.services.stop_all().await.into_iter().filter(|ended| ended.killed);
        let mut late: Vec<String> = services.map(|ended| ended.which).collect();
        let nodes = self.nodes.stop_all().await.into_iter().filter(|ended| ended.killed);
        late.extend(nodes.map(|ended| self.plan.nodes[ended.which].name.clone()));
        if late.is_empty() {
            return print("all stopped\n");
        }
        Err(Failure::failed(format!("{} did not stop in time and had to be killed", late.join(", ")))
            .hint(format!("the logs in {} may say why", self.plan.folder.display())))
    }
}
