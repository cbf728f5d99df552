//! The Docker engine, by its command line.

use std::path::Path;
use std::process::{Command, Stdio};

use rollcall_tests::{binary, note};

/// Lines of the containers' logs that a failed test prints.
const LOG_LINES: &str = "30";

/// The cluster under a name, an image and networks of its own, so that it disturbs no other. Dropped, all of it is removed.
pub(crate) struct Engine {
    /// `docker-compose`, or `docker compose`.
    compose: Vec<&'static str>,
    project: String,
    image: String,
    mesh: String,
    front: String,
}

impl Engine {
    /// `None` when no engine answers, or there is no Compose.
    pub(crate) fn find() -> Option<Self> {
        let works = |program: &str, arguments: &[&str]| {
            let ran = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
            ran.is_ok_and(|status| status.success())
        };
        if !works("docker", &["info"]) {
            return None;
        }
        let known: [Vec<&str>; 2] = [vec!["docker", "compose"], vec!["docker-compose"]];
        let compose = known.into_iter().find(|words| works(words[0], &[&words[1..], &["version"]].concat()))?;
        let id = std::process::id();
        Some(Self {
            compose,
            project: format!("rollcalltest{id}"),
            image: format!("rollcall:test-{id}"),
            mesh: format!("172.29.{}", id % 250),
            front: format!("172.30.{}", id % 250),
        })
    }

    /// Builds the image and starts everything.
    pub(crate) fn up(&self) {
        let workspace = workspace();
        let mut build = Command::new(workspace.join("deploy/docker/build-local.sh"));
        self.run(build.arg("--binary").arg(binary()).args(["--tag", &self.image]));
        self.run(self.compose().args(["up", "--detach", "--no-build"]));
    }

    /// Ends a container as a power cut would.
    pub(crate) fn kill(&self, service: &str) {
        self.run(self.compose().args(["kill", service]));
    }

    /// Starts a container that was killed.
    pub(crate) fn start(&self, service: &str) {
        self.run(self.compose().args(["start", service]));
    }

    /// Takes a node off the network that it has with the other nodes.
    pub(crate) fn disconnect(&self, node: &str) {
        let container = self.container(node).expect("the node was started");
        self.run(Command::new("docker").args(["network", "disconnect", &self.network(), &container]));
    }

    /// Puts it back, under its own address.
    pub(crate) fn connect(&self, node: &str) {
        let container = self.container(node).expect("the node was started");
        let number = node.rsplit('-').next().expect("nodes are numbered");
        let address = format!("{}.1{number}", self.mesh);
        self.run(Command::new("docker").args(["network", "connect", "--ip", &address, &self.network(), &container]));
    }

    /// Where a node's HTTP API is published on this machine; `None` while it does not run.
    pub(crate) fn port(&self, node: &str) -> Option<String> {
        let published = self.output(Command::new("docker").args(["port", &self.container(node)?, "7400/tcp"]))?;
        published.lines().next().map(str::to_owned)
    }

    fn container(&self, service: &str) -> Option<String> {
        // By label and not by name: Compose 1 and 2 join the parts of a name differently.
        let labels = [("project", self.project.as_str()), ("service", service)];
        let filters = labels.map(|(key, value)| format!("--filter=label=com.docker.compose.{key}={value}"));
        let ids = self.output(Command::new("docker").args(["ps", "--all", "--quiet"]).args(filters))?;
        ids.lines().next().map(str::to_owned)
    }

    fn network(&self) -> String {
        format!("{}_mesh", self.project)
    }

    fn compose(&self) -> Command {
        let mut command = Command::new(self.compose[0]);
        command.args(&self.compose[1..]).arg("--project-name").arg(&self.project);
        command.arg("--file").arg(workspace().join("docker-compose.cluster.yml"));
        command.env("ROLLCALL_IMAGE", &self.image).env("ROLLCALL_MESH", &self.mesh).env("ROLLCALL_FRONT", &self.front);
        for node in 1..=5 {
            command.env(format!("ROLLCALL_NODE_{node}_PORT"), "");
        }
        command
    }

    #[track_caller]
    fn run(&self, command: &mut Command) {
        let ran = command.stdin(Stdio::null()).output();
        let ran = ran.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        assert!(ran.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }

    fn output(&self, command: &mut Command) -> Option<String> {
        let ran = command.stdin(Stdio::null()).output().ok().filter(|ran| ran.status.success())?;
        String::from_utf8(ran.stdout).ok()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.output(self.compose().args(["logs", "--no-color", "--tail", LOG_LINES]));
            note(logs.unwrap_or_default());
        }
        let removed = [
            self.output(self.compose().args(["down", "--volumes", "--remove-orphans", "--timeout", "5"])),
            self.output(Command::new("docker").args(["image", "rm", &self.image])),
        ];
        if removed.contains(&None) {
            note(format_args!("not all of {} could be removed: see `docker ps -a`", self.project));
        }
    }
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}
