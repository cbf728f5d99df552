//! What a newcomer can try next, in lines to copy.

use std::path::Path;

use crate::dev::plan::Plan;
use crate::terminal::{Paint, shell_word};

/// The text, with the addresses and process ids of this cluster. `degrading` is the service, the instance and the port of what
/// falls ill in the demo; `None` of an empty catalogue. `program` is this executable.
pub(crate) fn text(
    plan: &Plan,
    pids: &[u32],
    degrading: Option<(&str, &str, u16)>,
    program: &Path,
    paint: Paint,
) -> String {
    let program = shell_word(&program.to_string_lossy());
    let url = |index: usize| plan.nodes[index % plan.nodes.len()].url();
    let name = |index: usize| &plan.nodes[index % plan.nodes.len()].name;
    let mut text = String::from("\n");
    for (node, pid) in plan.nodes.iter().zip(pids) {
        text.push_str(&format!(
            "{}  {}  pid {pid}  log {}\n",
            paint.strong(&node.name),
            node.url(),
            node.log_file().display()
        ));
    }
    let mut tip = |title: String, lines: &str| text.push_str(&format!("\n{}\n  {lines}\n", paint.strong(title)));
    tip(
        format!("Register an instance on {}", name(0)),
        &format!(
            "curl -X PUT {}/v1/services/web/instances/web-1 -H 'content-type: application/json' \\\n    \
             -d '{{\"endpoints\":[{{\"name\":\"http\",\"protocol\":\"http\",\"host\":\"10.0.0.7\",\"port\":8080}}],\"tags\":[\"api\"]}}'",
            url(0)
        ),
    );
    tip(format!("Read it on {}", name(1)), &format!("curl {}/v1/services/web/instances", url(1)));
    if let Some((service, id, port)) = degrading {
        let client = |command: &str| format!("{program} {command} --server {}", plan.nodes[0].http);
        tip(
            format!("See {id} get worse, fail and recover within two minutes, and what each node sees of it"),
            &format!("{}\n  {}", client("health"), client(&format!("health {service} {id}"))),
        );
        tip("The same over HTTP".to_owned(), &format!("curl {}/v1/services/{service}/health", url(1)));
        tip("Let it happen once more".to_owned(), &format!("curl -X POST http://127.0.0.1:{port}/degrade"));
        tip(
            "See traffic move away from it while it gets worse, and why".to_owned(),
            &format!("{}\n  {}", client(&format!("select {service}")), client(&format!("explain {service} --detail"))),
        );
        tip(
            "Take it out of traffic, and back".to_owned(),
            &format!("{}\n  {}", client(&format!("drain {service} {id}")), client(&format!("undrain {service} {id}"))),
        );
        tip(
            "Ask who offers a capability".to_owned(),
            &format!("curl {}/v1/capabilities/web_scraping/instances", url(2)),
        );
        tip(
            "Let the orchestrator find an analyst".to_owned(),
            &format!(
                "curl http://127.0.0.1:{}/work -H 'content-type: application/json' \\\n    \
                 -d '{{\"capability\":\"data_analysis\",\"task\":{{\"values\":[3,1,4,1,5]}}}}'",
                plan.demo_port_base + 30
            ),
        );
    }
    tip(format!("Watch every change on {}", name(2)), &format!("curl -N {}/v1/watch", url(2)));
    if let (true, Some(pid)) = (plan.nodes.len() >= 3, pids.first()) {
        tip(format!("Kill {} and see the others go on", name(0)), &format!("kill -9 {pid}"));
    }
    text.push_str(&format!("\n{}\n\n", paint.dim("What happens from here on (Ctrl-C stops everything):")));
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::terminal::Paint;

    #[test]
    fn the_tips_name_addresses_and_processes() {
        let plan = Plan::new(Path::new("d"), 3, 7400).unwrap();
        let text = text(&plan, &[11, 12, 13], Some(("scraper", "s-3", 7512)), Path::new("rollcall"), Paint::plain());
        for part in [
            "node-2  http://127.0.0.1:7410  pid 12  log d/node-2/node.log",
            "curl -X PUT http://127.0.0.1:7400/v1/services/web/instances/web-1",
            "curl http://127.0.0.1:7410/v1/services/web/instances",
            "curl -N http://127.0.0.1:7420/v1/watch",
            "rollcall health scraper s-3 --server 127.0.0.1:7400",
            "curl http://127.0.0.1:7410/v1/services/scraper/health",
            "curl -X POST http://127.0.0.1:7512/degrade",
            "curl http://127.0.0.1:7530/work",
            "kill -9 11",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_cluster_that_cannot_lose_a_node_is_not_told_to() {
        let plan = Plan::new(Path::new("d"), 1, 7400).unwrap();
        assert!(!text(&plan, &[11], None, Path::new("rollcall"), Paint::plain()).contains("kill"));
    }
}
