//! Where probes may go. No test here sends a packet beyond loopback: what is refused is never asked.

use std::sync::Arc;

use rollcall_health::check::{Answer, Failure};

use super::target::{Target, ok};
use super::{
    LONG, Names, Options, Policy, Prober, assert_answer, assert_failed, http, options, prober, prober_with_names, tcp,
};

#[tokio::test]
async fn an_address_that_is_never_probed_is_forbidden() {
    let prober = prober();
    for host in ["169.254.169.254", "224.0.0.1", "0.0.0.0", "255.255.255.255"] {
        assert_failed(&prober.probe(&http(format!("http://{host}/latest")), LONG).await, Failure::Forbidden, host);
        assert_failed(&prober.probe(&tcp(host, 80), LONG).await, Failure::Forbidden, "never probed");
    }
    for host in ["fe80::1", "::", "::ffff:169.254.169.254", "fd00:ec2::254"] {
        assert_failed(&prober.probe(&http(format!("http://[{host}]/latest")), LONG).await, Failure::Forbidden, host);
    }
}

#[tokio::test]
async fn a_name_that_leads_to_a_forbidden_network_is_forbidden() {
    let prober = prober_with_names(&[("metadata.internal", &["169.254.169.254", "fe80::1"])]);
    let probed = prober.probe(&http("http://metadata.internal/latest".to_owned()), LONG).await;
    assert_failed(&probed, Failure::Forbidden, "metadata.internal may not be probed: 169.254.169.254 is link-local");
}

#[tokio::test]
async fn of_several_addresses_only_those_are_asked_that_may_be() {
    let target = Target::answering(ok("")).await;
    let prober = prober_with_names(&[("mixed.internal", &["169.254.169.254", "127.0.0.1"])]);
    let probed = prober.probe(&http(format!("http://mixed.internal:{}/", target.address.port())), LONG).await;
    assert_answer(&probed, Answer::Passed);
    assert_eq!(target.accepted(), 1);
}

#[tokio::test]
async fn the_next_address_is_asked_when_one_takes_no_connection() {
    let target =
        Target::on("127.0.0.2", |mut stream| async move { super::target::read_to_end(&mut stream).await }).await;
    let prober = prober_with_names(&[("web.internal", &["127.0.0.1", "127.0.0.2"])]);
    assert_answer(&prober.probe(&tcp("web.internal", target.address.port()), LONG).await, Answer::Passed);
}

#[tokio::test]
async fn a_name_without_an_address_is_not_resolved() {
    let prober = prober_with_names(&[("empty.internal", &[])]);
    assert_failed(&prober.probe(&tcp("nowhere.internal", 80), LONG).await, Failure::Resolve, "no such name");
    assert_failed(&prober.probe(&tcp("empty.internal", 80), LONG).await, Failure::Resolve, "no address");
}

#[tokio::test]
async fn a_denied_network_is_not_asked_and_loopback_only_by_a_node_that_is_there() {
    let target = Target::answering(ok("")).await;
    let kind = http(target.url("/"));
    let denied = Policy { denied: vec!["127.0.0.0/8".parse().unwrap()], loopback: true, ..Policy::default() };
    for (policy, said) in [(denied, "probe.denied-networks"), (Policy::default(), "loopback")] {
        let prober = Prober::new(Options { policy, resolver: Arc::new(Names::default()), ..options() });
        assert_failed(&prober.probe(&kind, LONG).await, Failure::Forbidden, said);
    }
    assert_eq!(target.accepted(), 0);
}
