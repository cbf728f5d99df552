//! A run on a cluster that runs already, which others use, too.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use support::rollcall;

/// Tells "never" from "slow".
const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
const NODES: [&str; 3] = ["a", "b", "c"];

/// A cluster of three nodes, each started by the command of its file. Dropping it ends them.
struct Staging {
    folder: tempfile::TempDir,
    ports: Vec<[u16; 4]>,
}

impl Staging {
    /// Starts three nodes, and waits until each serves.
    fn start(rollcall: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Below those that outgoing connections draw from, one of which could sit on the port of a node that is down for a moment.
        let first = 10_000 + u16::try_from(std::process::id() % 20_000).expect("it is small");
        let mut free =
            (first..32_000).chain(10_000..first).filter(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok());
        let ports = NODES.map(|_| [(); 4].map(|()| free.next().expect("a free port"))).to_vec();
        let staging = Self { folder, ports };
        staging.write("secret", "what the nodes of this test know");
        staging.write("start", &staging.script(rollcall));
        staging.write("staging.toml", &staging.file());
        for (name, ports) in NODES.iter().zip(&staging.ports) {
            let [http, peer, gossip, consul] = ports.map(|port| port.to_string());
            let words = [("name", *name), ("http", &http), ("peer", &peer), ("gossip", &gossip), ("locks", &consul)];
            let started = Command::new("sh").arg(staging.path("start")).envs(words).status();
            assert!(started.expect("there is a shell").success());
        }
        staging.wait_ready();
        staging
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the folder is writable");
    }

    /// Starts the node that its variables name.
    fn script(&self, rollcall: &Path) -> String {
        let join: Vec<String> = self.ports.iter().map(|[_, peer, ..]| format!("127.0.0.1:{peer}")).collect();
        let (folder, rollcall, join) = (self.folder.path().display(), rollcall.display(), join.join(","));
        format!(
            "cd {folder}\n\
             [ ! -e $name.pid ] || [ ! -e /proc/$(cat $name.pid)/exe ] || exit 0\n\
             setsid env --unset=ROLLCALL_BIN sh -c \"echo \\$\\$ > $name.pid; exec {rollcall} node --name=$name --http=127.0.0.1:$http --peer=127.0.0.1:$peer \
             --gossip=127.0.0.1:$gossip --consul=127.0.0.1:$locks --data-dir=data-$name --secret-file=secret --bootstrap-expect=3 \
             --join={join}\" >> $name.log 2>&1 < /dev/null &\n"
        )
    }

    /// The file of the cluster, for the harness.
    fn file(&self) -> String {
        let folder = self.folder.path().display();
        let mut text = format!(
            "[commands]\nstart = 'sh {folder}/start'\nkill = 'pid=$(cat {folder}/$name.pid); kill -KILL $pid; while [ -e /proc/$pid/exe ]; do sleep 0.01; done'\n\
             pause = 'kill -STOP $(cat {folder}/$name.pid)'\nresume = 'kill -CONT $(cat {folder}/$name.pid)'\n"
        );
        for (name, [http, peer, gossip, consul]) in NODES.iter().zip(&self.ports) {
            text.push_str(&format!(
                "[[nodes]]\nname = '{name}'\nurl = 'http://127.0.0.1:{http}'\nconsul = 'http://127.0.0.1:{consul}'\n\
                 http = '{http}'\npeer = '{peer}'\ngossip = '{gossip}'\nlocks = '{consul}'\n"
            ));
        }
        text
    }

    /// What the node at `index` answers to a request, body and all; `None` when it does not.
    fn ask(&self, index: usize, method: &str, path: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[index][0])).ok()?;
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n");
        stream.write_all(format!("{head}content-length: {length}\r\n\r\n{body}").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "there is no runtime here, and this is the pause of a poll")]
    fn wait_ready(&self) {
        let began = Instant::now();
        let is_ready = |index| self.ask(index, "GET", "/readyz", "").is_some_and(|it| it.starts_with("HTTP/1.1 200"));
        while !(0..NODES.len()).all(is_ready) {
            assert!(began.elapsed() < DEADLINE, "the nodes do not serve: {}", self.logs());
            std::thread::sleep(POLL);
        }
    }

    fn logs(&self) -> String {
        let log = |name: &&str| std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        NODES.iter().map(log).collect()
    }

    fn jepsen_lite(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jepsen-lite"));
        command.args(arguments).arg("--cluster").arg(self.path("staging.toml")).current_dir(self.folder.path());
        command.output().expect("the program can be started")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        for name in NODES {
            let pid = std::fs::read_to_string(self.path(&format!("{name}.pid"))).unwrap_or_default();
            // One that did not start has none.
            let _ = Command::new("kill").args(["-KILL", pid.trim()]).status();
        }
    }
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_cluster_that_others_use_is_left_as_it_was_found() {
    let staging = Staging::start(&rollcall());
    let theirs = r#"{"endpoints":[{"protocol":"http","host":"10.0.0.7","port":80}]}"#;
    let registered = staging.ask(0, "PUT", "/v1/services/web/instances/web-1", theirs).expect("it answers");
    assert!(registered.starts_with("HTTP/1.1 20"), "{registered}");

    // Twice: a run must not meet what an earlier one left in the cluster's memory.
    for workload in ["set", "locks", "documents"] {
        let arguments =
            ["run", "--workload", workload, "--nemesis", "kill,pause", "--time-limit", "12s", "--seed", "4"];
        let run = staging.jepsen_lite(&arguments);
        assert_eq!(run.status.code(), Some(0), "{}\n{}", shown(&run), staging.logs());
    }
    staging.wait_ready();
    for index in 0..NODES.len() {
        let services = staging.ask(index, "GET", "/v1/services?consistency=linearizable", "").expect("it answers");
        assert!(services.contains("\"web\"") && !services.contains("jepsen-lite"), "{services}");
        let keys = staging.ask(index, "GET", "/v1/kv?consistency=linearizable", "").expect("it answers");
        assert!(keys.contains("\"items\":[]"), "{keys}");
    }
    let swept = staging.jepsen_lite(&["sweep"]);
    assert!(shown(&swept).contains("removed 0 instances, 0 services and 0 keys"), "{}", shown(&swept));
}

#[test]
fn what_a_file_does_not_say_is_asked_for_before_anything_is_done() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("staging.toml");
    std::fs::write(&file, "[commands]\nkill = 'false'\n[[nodes]]\nname = 'a'\nurl = 'http://127.0.0.1:1'\n").unwrap();
    for (arguments, complaint) in [
        (&["--workload", "set", "--nemesis", "kill"][..], "it has no command 'start'"),
        (&["--workload", "set", "--nemesis", "torn-tail"], "needs nodes that the harness runs itself"),
        (&["--workload", "health"], "needs 'probed_at'"),
        (&["--workload", "locks"], "needs 'consul' of every node"),
        (&["--workload", "set", "--nodes", "3"], "cannot be used with"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jepsen-lite"));
        command.arg("run").args(arguments).arg("--cluster").arg(&file).arg("--store").arg(folder.path().join("runs"));
        let output = command.output().expect("the program can be started");
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(shown(&output).contains(complaint), "{arguments:?}: {}", shown(&output));
        assert!(!folder.path().join("runs").exists(), "{arguments:?}");
    }
}
