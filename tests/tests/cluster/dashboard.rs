//! The dashboard as a person has it: the real binary on a real terminal, with a real cluster behind it.

use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rollcall_tests::{Cluster, DEADLINE, Node, binary, registration, rollcall, wait_until};
use serde_json::Value;

const SIZE: PtySize = PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 };
/// What a shell wrote before, to be found again afterwards.
const BEFORE: &str = "what was there before";

/// A terminal with the dashboard on it.
struct Dashboard {
    child: Box<dyn Child + Send + Sync>,
    keyboard: Box<dyn std::io::Write + Send>,
    screen: Arc<Mutex<vt100::Parser>>,
    master: Box<dyn MasterPty + Send>,
    /// The modes of the terminal before the dashboard had it.
    modes_before: String,
}

impl Dashboard {
    fn start(servers: &str) -> Self {
        let pty = native_pty_system().openpty(SIZE).expect("a pseudo-terminal");
        let screen = Arc::new(Mutex::new(vt100::Parser::new(of(SIZE.rows), of(SIZE.cols), 0)));
        lock(&screen).process(format!("{BEFORE}\r\n").as_bytes());
        let mut output = pty.master.try_clone_reader().expect("the terminal can be read");
        let seen = screen.clone();
        // Ends with the terminal.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = output.read(&mut bytes) {
                if count == 0 {
                    return;
                }
                lock(&seen).process(&bytes[..count]);
            }
        });
        let mut command = CommandBuilder::new(binary());
        command.args(["top", "--server", servers, "--actor", "ann"]);
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        let modes_before = modes(&*pty.master);
        let child = pty.slave.spawn_command(command).expect("the binary can be started");
        let keyboard = pty.master.take_writer().expect("the terminal can be typed at");
        Self { child, keyboard, screen, master: pty.master, modes_before }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).and_then(|()| self.keyboard.flush()).expect("the terminal is there");
    }

    fn text(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    async fn shows(&self, part: &str) {
        wait_until(&format!("{part:?} on the screen"), DEADLINE, async || {
            let text = self.text();
            if text.contains(part) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits for the end of the program and checks that the terminal is as it was.
    async fn ended(&mut self) {
        let code = wait_until("the dashboard to end", DEADLINE, async || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status.exit_code()),
            Ok(None) => Err(self.text()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        assert_eq!(code, 0);
        wait_until("the terminal to be as it was", DEADLINE, async || {
            let parser = lock(&self.screen);
            let screen = parser.screen();
            let is_clean = !screen.alternate_screen()
                && !screen.hide_cursor()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
                && screen.contents().contains(BEFORE);
            if is_clean { Ok(()) } else { Err(screen.contents()) }
        })
        .await;
        assert_eq!(modes(&*self.master), self.modes_before, "echo, line editing and signals are as they were");
    }
}

fn of(size: u16) -> NonZero<u16> {
    NonZero::new(size).expect("a terminal has a size")
}

fn modes(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().expect("the terminal says how it is"))
}

fn lock(screen: &Arc<Mutex<vt100::Parser>>) -> std::sync::MutexGuard<'_, vt100::Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn lifecycle(node: &Node, service: &str, id: &str) -> Value {
    node.get(&format!("/v1/services/{service}/instances/{id}")).answer().await.expect(200).json()["lifecycle"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_and_drains_an_instance_and_the_loss_of_the_node_does_not_matter() {
    let cluster = Cluster::start(3).await;
    for (service, id) in [("web", "web-1"), ("web", "web-2"), ("billing", "billing-1")] {
        cluster.node(0).register(service, id, &registration(8080)).await.expect(201);
    }
    cluster.wait_converged().await;
    // One address is enough: the others are learnt from the members.
    let mut dashboard = Dashboard::start(&cluster.node(0).url());
    dashboard.shows("all is well: 3 nodes, 2 services, 3 of 3 instances").await;

    dashboard.press("2");
    dashboard.shows("billing").await;
    dashboard.press("/we");
    dashboard.shows("SERVICE /we 1 of 2").await;
    dashboard.press("\r\r");
    dashboard.shows("web: passing, 2 of 2 can take traffic").await;
    dashboard.press("je");
    dashboard.shows("web: 2 of 2 may be picked").await;
    dashboard.shows("web-2: in, first pick of 50% of the requests").await;
    dashboard.press("g");
    dashboard.shows("no service says that it requires another").await;
    dashboard.press("hhd");
    dashboard.shows("drain web/web-2?").await;
    dashboard.press("y");
    dashboard.shows("done: drain web/web-2").await;
    dashboard.shows("draining").await;
    cluster.wait_caught_up().await;
    assert_eq!(lifecycle(cluster.node(1), "web", "web-2").await["state"], "draining");

    cluster.node(0).kill9();
    dashboard.press("4");
    dashboard.shows("moved on").await;
    dashboard.shows("live").await;
    dashboard.press("1");
    dashboard.shows("1 node dead: n1").await;

    dashboard.press("q");
    dashboard.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_gives_the_terminal_back() {
    let mut dashboard = Dashboard::start("127.0.0.1:1");
    dashboard.shows("no node answers").await;
    let pid = dashboard.child.process_id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    rustix::process::kill_process(pid.expect("it runs"), rustix::process::Signal::TERM).expect("it is ours");
    dashboard.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_screen_is_printed_for_scripts() {
    let cluster = Cluster::start(1).await;
    cluster.node(0).register("web", "web-1", &registration(8080)).await.expect(201);
    let url = cluster.node(0).url();
    let printed = rollcall(["top", "--once", "--view", "services", "--server", &url, "--width", "80"]).await;
    assert_eq!((printed.code, printed.stdout.lines().count()), (Some(0), 30), "{printed:?}");
    assert!(printed.stdout.contains("web") && !printed.stdout.contains('\u{1b}'), "{printed:?}");
    let past = rollcall(["top", "--once", "--view", "events", "--server", &url]).await;
    assert!(past.stdout.contains("registered   web/web-1 by"), "{past:?}");
    let why = rollcall(["top", "web", "--explain", "--once", "--server", &url]).await;
    assert!(why.stdout.contains("web-1: in, first pick of 100% of the requests"), "{why:?}");
    let nobody = rollcall(["top", "--once", "--server", "127.0.0.1:1", "--timeout", "300ms"]).await;
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(3), ""), "{nobody:?}");
}
