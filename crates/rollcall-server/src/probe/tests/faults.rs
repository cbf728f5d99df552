//! What a target can do wrong, and what comes of it.

use std::time::Duration;

use rollcall_health::check::{Answer, Failure};
use tokio::io::AsyncWriteExt as _;

use super::target::{Target, ok, read_head, read_to_end};
use super::{LONG, SHORT, assert_answer, assert_failed, http, prober, prober_with_names, tcp, until};

#[tokio::test]
async fn an_answer_of_2xx_passes_and_its_body_is_shown() {
    let target = Target::answering(ok("all is well")).await;
    let probed = prober().probe(&http(target.url("/health")), LONG).await;
    assert_answer(&probed, Answer::Passed);
    assert_eq!(&*probed.output, "200 OK\nall is well");
    assert!(probed.outcome.latency > Duration::ZERO && probed.outcome.latency < LONG);
    assert!(probed.at.get() > 1_700_000_000_000, "milliseconds since 1970");
}

#[tokio::test]
async fn a_request_says_who_asks_whom_for_what() {
    let target = Target::new(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        stream.write_all(&ok(&head)).await.unwrap();
    })
    .await;
    let url = format!("http://user:secret@{}/a?b=c", target.address);
    let probed = prober().probe(&http(url), LONG).await;
    let head = probed.output.lines().skip(1).map(str::to_lowercase).collect::<Vec<_>>();
    assert_eq!(head[0], "get /a?b=c http/1.1");
    assert!(head.contains(&format!("host: {}", target.address)), "{head:?}");
    assert!(head.iter().any(|line| line.starts_with("user-agent: rollcall/")), "{head:?}");
    assert!(!probed.output.contains("secret"));
}

#[tokio::test]
async fn an_answer_of_429_strains_and_others_fail_with_what_they_say() {
    let prober = prober();
    let busy = Target::answering("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n").await;
    assert_answer(&prober.probe(&http(busy.url("/")), LONG).await, Answer::Strained);
    let broken = Target::answering("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 7\r\n\r\nno disk").await;
    let probed = prober.probe(&http(broken.url("/")), LONG).await;
    assert_failed(&probed, Failure::Status, "503 Service Unavailable\nno disk");
}

#[tokio::test]
async fn a_target_that_nobody_listens_on_is_refused() {
    let port = Target::answering(ok("")).await.address.port();
    let (prober, kinds) = (prober(), [http(format!("http://127.0.0.1:{port}/")), tcp("127.0.0.1", port)]);
    for kind in kinds {
        // The listener closes when its task has ended, which may be a moment later.
        let mut probed = prober.probe(&kind, LONG).await;
        while probed.outcome.answer == Answer::Passed {
            tokio::task::yield_now().await;
            probed = prober.probe(&kind, LONG).await;
        }
        assert_failed(&probed, Failure::Refused, "no connection to 127.0.0.1");
    }
}

#[tokio::test]
async fn a_port_that_takes_connections_passes() {
    let target = Target::new(|mut stream| async move { read_to_end(&mut stream).await }).await;
    let probed = prober().probe(&tcp("127.0.0.1", target.address.port()), LONG).await;
    assert_answer(&probed, Answer::Passed);
    until("the end of the connection", || target.accepted() == 1 && target.open() == 0).await;
}

#[tokio::test]
async fn a_target_that_hangs_at_connect_times_out() {
    // A listener whose queue is full drops what comes: the system answers no SYN.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let _first = std::net::TcpStream::connect(address).unwrap();
    for kind in [tcp("127.0.0.1", address.port()), http(format!("http://{address}/"))] {
        let probed = prober().probe(&kind, SHORT).await;
        assert_failed(&probed, Failure::Timeout, "no connection to 127.0.0.1");
        assert!(probed.outcome.latency >= SHORT, "{:?}", probed.outcome.latency);
    }
}

#[tokio::test]
async fn a_target_that_says_nothing_times_out_and_is_closed() {
    let target = Target::falling_silent_after(b"").await;
    let probed = prober().probe(&http(target.url("/")), SHORT).await;
    assert_failed(&probed, Failure::Timeout, "no head");
    until("the end of the connection", || target.open() == 0).await;
}

#[tokio::test]
async fn a_target_that_hangs_in_its_head_or_its_body_times_out() {
    let head = Target::falling_silent_after(b"HTTP/1.1 200 OK\r\ncontent-le").await;
    assert_failed(&prober().probe(&http(head.url("/")), SHORT).await, Failure::Timeout, "no head");
    let body = Target::falling_silent_after(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    assert_failed(
        &prober().probe(&http(body.url("/")), SHORT).await,
        Failure::Timeout,
        "200 OK came, and its body did not end",
    );
    until("the end of the connections", || head.open() + body.open() == 0).await;
}

#[tokio::test]
async fn a_body_that_drips_for_ever_times_out() {
    let target = Target::new(|mut stream| async move {
        read_head(&mut stream).await;
        let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while said.is_ok() {
            said = stream.write_all(b"1\r\nx\r\n").await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let probed = prober().probe(&http(target.url("/")), SHORT).await;
    assert_failed(&probed, Failure::Timeout, "its body did not end");
    until("the end of the connection", || target.open() == 0).await;
}

#[tokio::test]
async fn a_body_of_a_gibibyte_is_read_in_part_and_cut() {
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = sent.clone();
    let target = Target::new(move |mut stream| {
        let sent = counted.clone();
        async move {
            read_head(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 1_u64 << 30);
            let mut said = stream.write_all(head.as_bytes()).await;
            let part = vec![b'x'; 64 * 1_024];
            while said.is_ok() {
                sent.fetch_add(part.len() as u64, std::sync::atomic::Ordering::SeqCst);
                said = stream.write_all(&part).await;
            }
        }
    })
    .await;
    let probed = prober().probe(&http(target.url("/")), LONG).await;
    assert_answer(&probed, Answer::Passed);
    assert!(probed.output.len() <= 4_096);
    until("the end of the connection", || target.open() == 0).await;
    // What is beyond the 64 KiB that are read fits into the buffers of two sockets.
    assert!(sent.load(std::sync::atomic::Ordering::SeqCst) < 64 << 20, "{sent:?} bytes");
}

#[tokio::test]
async fn a_flood_of_interim_answers_is_cut() {
    let target = Target::new(|mut stream| async move {
        read_head(&mut stream).await;
        while stream.write_all(&b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(100)).await.is_ok() {}
    })
    .await;
    let probed = prober().probe(&http(target.url("/")), LONG).await;
    assert_failed(&probed, Failure::Protocol, "bytes came");
    until("the end of the connection", || target.open() == 0).await;
}

#[tokio::test]
async fn a_head_without_end_is_cut() {
    for line in [format!("x: {}\r\n", "y".repeat(100)), "x: y\r\n".to_owned()] {
        let target = Target::new(move |mut stream| {
            let line = line.repeat(1_000);
            async move {
                read_head(&mut stream).await;
                let mut said = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
                while said.is_ok() {
                    said = stream.write_all(line.as_bytes()).await;
                }
            }
        })
        .await;
        let probed = prober().probe(&http(target.url("/")), LONG).await;
        assert_failed(&probed, Failure::Protocol, "too long a head");
        until("the end of the connection", || target.open() == 0).await;
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_fault_of_protocol() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..],
        b"\x00\x01\x02\x03garbage\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64",
    ] {
        let target = Target::answering(garbage).await;
        let probed = prober().probe(&http(target.url("/")), LONG).await;
        assert_failed(&probed, Failure::Protocol, "");
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_or_reset_before_the_answer_is_lost() {
    let closed = Target::new(|mut stream| async move { drop(read_head(&mut stream).await) }).await;
    assert_failed(&prober().probe(&http(closed.url("/")), LONG).await, Failure::Refused, "closed");
    let reset = Target::new(|mut stream| async move {
        read_head(&mut stream).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    assert_failed(&prober().probe(&http(reset.url("/")), LONG).await, Failure::Refused, "reset");
    let torn = Target::new(|mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    })
    .await;
    assert_failed(&prober().probe(&http(torn.url("/")), LONG).await, Failure::Refused, "broke off");
}

#[tokio::test]
async fn redirects_are_followed_three_times_on_the_same_origin() {
    let target = Target::new(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let hop: u32 = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let answer = match hop {
                0 => ok("arrived"),
                _ => format!("HTTP/1.1 302 Found\r\nlocation: /{}\r\ncontent-length: 0\r\n\r\n", hop - 1).into_bytes(),
            };
            stream.write_all(&answer).await.unwrap();
        }
    })
    .await;
    let prober = prober();
    let probed = prober.probe(&http(target.url("/3")), LONG).await;
    assert_answer(&probed, Answer::Passed);
    assert_eq!(&*probed.output, "200 OK\narrived");
    assert_eq!(target.accepted(), 1, "all over one connection");
    assert_failed(&prober.probe(&http(target.url("/4")), LONG).await, Failure::Status, "more than 3 times");
}

#[tokio::test]
async fn a_redirect_in_a_loop_ends_and_one_to_another_place_is_not_followed() {
    let prober = prober_with_names(&[("web.internal", &["127.0.0.1"])]);
    let target = Target::answering("HTTP/1.1 307 Temporary Redirect\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    assert_failed(&prober.probe(&http(target.url("/")), LONG).await, Failure::Status, "more than 3 times");
    let other = Target::answering(ok("")).await;
    for place in
        [other.url("/"), format!("http://web.internal:{}/", target.address.port()), "//169.254.169.254/".into()]
    {
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n");
        let target = Target::answering(answer).await;
        let probed = prober.probe(&http(target.url("/")), LONG).await;
        assert_failed(&probed, Failure::Status, "on the host and port of the check only");
    }
    assert_eq!(other.accepted(), 0);
}

#[tokio::test]
async fn output_of_a_target_cannot_write_to_a_terminal() {
    let target = Target::answering(ok("\u{1b}]0;owned\u{7}\u{1b}[2J\0fine")).await;
    let probed = prober().probe(&http(target.url("/")), LONG).await;
    assert!(probed.output.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", probed.output);
    assert!(probed.output.ends_with("fine"));
}
