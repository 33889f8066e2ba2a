//! Tests of channels behind a URL, against servers of a few lines.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::super::{fetch, open};
use super::*;

/// Answers each request, whose head it is given, as it is told to.
fn server(
    answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let (log, answer) = (Arc::clone(&heads), Arc::new(answer));
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            std::thread::spawn(move || {
                let lines = BufReader::new(connection.try_clone().unwrap()).lines();
                let lines = lines.map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let head = head.join("\n");
                log.lock().unwrap().push(head.clone());
                let mut connection = connection;
                answer(&head, &mut connection);
            });
        }
    });
    (url, heads)
}

fn say(to: &mut TcpStream, text: &str) {
    // A client that has enough goes away.
    let _ = to.write_all(text.as_bytes());
}

fn ok(to: &mut TcpStream, body: &str) {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    say(to, &(head + body));
}

fn impatient() -> Pace {
    Pace {
        window: Duration::from_millis(300),
        ..Pace::default()
    }
}

#[test]
fn a_file_is_asked_for_by_its_very_name() {
    let (url, heads) = server(|_, to| ok(to, "abc"));
    let upstream = open(&format!("{url}/c/")).unwrap();
    assert_eq!(upstream.name(), format!("{url}/c"));
    let fetched = fetch(upstream.as_ref(), "noarch/_a+b-1!2-x y%.conda", 3);
    assert_eq!(fetched.unwrap().unwrap(), b"abc");
    let head = heads.lock().unwrap().pop().unwrap();
    assert!(
        head.starts_with("GET /c/noarch/_a%2Bb-1%212-x%20y%25.conda HTTP/1.1"),
        "{head}"
    );
    assert!(head.contains("accept-encoding: identity"), "{head}");
    for none in ["", "a/", "/a", "a//b", "../a", "a/./b"] {
        assert_eq!(fetch(upstream.as_ref(), none, 3).unwrap(), None, "{none}");
    }
    assert!(heads.lock().unwrap().is_empty());
}

#[test]
fn credentials_are_sent_and_never_shown() {
    let (url, heads) = server(|_, to| {
        say(
            to,
            "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
    });
    let secret = url.replace("http://", "http://me:p%40ss@") + "/t/tk-1/c";
    let upstream = open(&secret).unwrap();
    let error = fetch(upstream.as_ref(), "a", 9).unwrap_err();
    let head = heads.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("GET /t/tk-1/c/a "), "{head}");
    assert!(head.contains("authorization: Basic bWU6cEBzcw=="), "{head}");
    let said = format!("{error} {error:?} {}", upstream.name());
    assert!(said.contains("/t/***/c/a: can't fetch it: the server answered 500"));
    for hidden in ["tk-1", "p%40ss", "p@ss", "me:"] {
        assert!(!said.contains(hidden), "{said}");
    }
    let gone = HttpUpstream::open("http://me:p%40ss@127.0.0.1:1/t/tk-1").unwrap();
    let said = fetch(&gone, "a", 9).unwrap_err().to_string();
    assert!(!said.contains("tk-1") && !said.contains("p%40ss"), "{said}");
    for wrong in [
        "http://",
        "http://h/?q",
        "http://h/#x",
        "ftp://u:pw@h/",
        "http://u:pw@h:x/",
    ] {
        let error = HttpUpstream::open(wrong).unwrap_err().to_string();
        assert!(!error.contains("pw"), "{error}");
    }
}

#[test]
fn what_is_absent_and_what_fails() {
    let (url, _) = server(|head, to| match head.split(' ').nth(1).unwrap() {
        "/404" => say(
            to,
            "HTTP/1.1 404 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
        ),
        "/410" => say(
            to,
            "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        "/503" => say(
            to,
            "HTTP/1.1 503 Later\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        "/short" => say(
            to,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nab",
        ),
        "/chunked" => say(
            to,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        ),
        "/large" => ok(to, "abcd"),
        "/endless" => {
            say(to, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while to.write_all(&[b'x'; 4096]).is_ok() {}
        }
        _ => say(to, "220 mail.example ESMTP\r\n"),
    });
    let upstream = HttpUpstream::open(&url).unwrap();
    let fault = |path: &str| fetch(&upstream, path, 3).unwrap_err().fault;
    assert_eq!(fetch(&upstream, "404", 3).unwrap(), None);
    assert_eq!(fetch(&upstream, "410", 3).unwrap(), None);
    assert!(matches!(fault("503"), UpstreamFault::Status(503)));
    for path in ["short", "chunked", "nonsense"] {
        assert!(
            matches!(fault(path), UpstreamFault::Unreachable(_)),
            "{path}"
        );
    }
    for path in ["large", "endless"] {
        let fault = fault(path);
        assert!(
            matches!(fault, UpstreamFault::TooLarge { cap: 3 }),
            "{path}"
        );
    }
    let refused = HttpUpstream::open("http://127.0.0.1:1").unwrap();
    let fault = fetch(&refused, "a", 3).unwrap_err().fault;
    assert!(matches!(fault, UpstreamFault::Unreachable(_)), "{fault}");
}

#[test]
fn redirects_stay_with_the_host() {
    let (other, asked) = server(|_, to| ok(to, "elsewhere"));
    let there = other.clone();
    let (url, _) = server(move |head, to| {
        let to_where = match head.split(' ').nth(1).unwrap() {
            "/within" => "/file".to_owned(),
            "/away" => format!("{there}/t/tk-1/x?y"),
            "/user" => there.replace("http://", "http://u:pw@"),
            "/ftp" => "ftp://127.0.0.1/".to_owned(),
            "/file" => return ok(to, "abc"),
            loops => format!("{loops}x"),
        };
        let length = "Content-Length: 0\r\nConnection: close";
        say(
            to,
            &format!("HTTP/1.1 302 Go\r\nLocation: {to_where}\r\n{length}\r\n\r\n"),
        );
    });
    let upstream = HttpUpstream::open(&url).unwrap();
    assert_eq!(fetch(&upstream, "within", 3).unwrap().unwrap(), b"abc");
    let error = fetch(&upstream, "away", 3).unwrap_err();
    let UpstreamFault::Redirected(to) = &error.fault else {
        panic!("{error}")
    };
    assert_eq!(to, &format!("{other}/t/***/x"));
    let error = fetch(&upstream, "user", 3).unwrap_err().to_string();
    assert!(error.contains(&other) && !error.contains("pw"), "{error}");
    assert!(fetch(&upstream, "ftp", 3).is_err());
    let error = fetch(&upstream, "loop", 3).unwrap_err().to_string();
    assert!(error.contains("more than 5 times"), "{error}");
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn who_is_too_slow_is_not_waited_for() {
    let (url, _) = server(|head, to| {
        match head.split(' ').nth(1).unwrap() {
            "/silent" => {}
            "/stalls" => say(to, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
            _ => {
                say(to, "HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n");
                while to.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
        std::thread::park();
    });
    let upstream = HttpUpstream::at_pace(&url, impatient()).unwrap();
    for path in ["silent", "stalls", "drips"] {
        let fault = fetch(&upstream, path, 1 << 20).unwrap_err().fault;
        assert!(
            matches!(fault, UpstreamFault::TooSlow(_)),
            "{path}: {fault}"
        );
    }
    let whole = Pace {
        whole: Duration::from_millis(200),
        average: 1 << 30,
        ..Pace::default()
    };
    let upstream = HttpUpstream::at_pace(&url, whole).unwrap();
    let fault = fetch(&upstream, "drips", 1 << 20).unwrap_err().fault;
    assert!(fault.to_string().contains("whole"), "{fault}");
}
