//! Clients: their connections, with limits, and what each request gets. Owns the order in which a request is judged
//! before a channel is asked; must not know how a channel comes to its answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::TokioTimer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

use super::Limits;
use super::answer::{Answer, Content, Failed, Failure};
use super::channel::Gated;
use super::log::Log;
use super::page::{self, About};
use super::path::Target;
use super::reply::{self, Reply};
use super::socket::Socket;
use super::token::Token;

/// The most bytes of a request's head.
const HEAD_BYTES: usize = 16 << 10;

/// How long to wait when no connection can be taken: most often there are too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// A channel behind the gate, and what the pages say of it.
pub(super) struct Behind {
    pub about: About,
    pub gated: Arc<Gated>,
    /// How many of its requests may wait for upstream and disk at once, so that others' need not wait for them.
    pub checks: Arc<Semaphore>,
}

/// All that there is to be asked for.
pub(super) struct Site {
    pub channels: Vec<Behind>,
    pub log: Arc<Log>,
    pub token: Option<Token>,
    /// Whether only this machine can reach the gate.
    pub is_local: bool,
}

/// Serves clients until it is told to stop, and then lets the last answers finish.
pub(super) async fn serve(
    listener: TcpListener,
    site: Arc<Site>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let limits = Arc::new(limits);
    let most = usize::try_from(limits.connections).unwrap_or(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(most));
    loop {
        let client = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            _ = stop.changed() => break,
            client = client => client,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (site, limits, stop) = (Arc::clone(&site), Arc::clone(&limits), stop.clone());
        tokio::spawn(async move {
            connection(stream, site, &limits, stop).await;
            drop(place);
        });
    }
    drop(listener);
    // When every place is free again, the last client is gone.
    let all = places.acquire_many(limits.connections);
    let _ = tokio::time::timeout(limits.farewell, all).await;
}

/// One client's requests, one after another.
async fn connection(
    stream: TcpStream,
    site: Arc<Site>,
    limits: &Limits,
    mut stop: watch::Receiver<bool>,
) {
    // A small answer goes out at once; where that can't be set, it goes out later.
    let _ = stream.set_nodelay(true);
    let socket = Socket::new(stream, limits.stall);
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(answer(&site, &request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .max_header_size(HEAD_BYTES)
            .serve_connection(socket, service)
    );
    tokio::select! {
        // A client that broke off is no matter of the gate's.
        _ = connection.as_mut() => return,
        _ = stop.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(site: &Site, request: &Request<Incoming>) -> Reply {
    let asked = request.headers();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply::only_reads();
    }
    let asked = &*ranged(request.method(), asked);
    if site.is_local && site.token.is_none() && !is_called_local(asked) {
        return reply::misdirected();
    }
    match Target::parse(request.uri().path(), site.token.as_ref()) {
        None => reply::absent(),
        Some(Target::Page) => reply::page(page::page(&site.abouts(), &site.log)),
        Some(Target::Status) => {
            let status = page::status(&site.abouts(), &site.log);
            reply::json(format!("{status}\n"))
        }
        Some(Target::ChannelPage(name)) => match site.channel(&name) {
            Some(channel) => reply::page(page::page(&[&channel.about], &site.log)),
            None => reply::absent(),
        },
        Some(Target::File(name, path)) => match site.channel(&name) {
            Some(channel) => file(channel, &site.log, path, asked).await,
            None => reply::absent(),
        },
    }
}

/// A range means something for GET alone (RFC 9110, 14.2).
fn ranged<'a>(method: &Method, asked: &'a HeaderMap) -> Cow<'a, HeaderMap> {
    let mut asked = Cow::Borrowed(asked);
    if *method != Method::GET && asked.contains_key(header::RANGE) {
        asked.to_mut().remove(header::RANGE);
    }
    asked
}

impl Site {
    fn channel(&self, name: &str) -> Option<&Behind> {
        self.channels.iter().find(|one| one.about.name == name)
    }

    fn abouts(&self) -> Vec<&About> {
        self.channels.iter().map(|one| &one.about).collect()
    }
}

/// Whether the client calls this machine by an address of it or as localhost. A page from elsewhere that had its
/// own name bent to this machine would not.
fn is_called_local(asked: &HeaderMap) -> bool {
    // HTTP/1.0 has none, and no browser speaks it.
    let Some(host) = asked.get(header::HOST) else {
        return true;
    };
    let host = host.to_str().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => host.split(':').next(),
    };
    let name = name.unwrap_or_default();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// A file of a channel.
async fn file(channel: &Behind, log: &Log, path: String, asked: &HeaderMap) -> Reply {
    let name = channel.about.name.as_str();
    if let Some(content) = channel.gated.at_hand(&path) {
        return served(content, name, log, &path, asked, false);
    }
    let (gated, wanted) = (Arc::clone(&channel.gated), path.clone());
    let check = Arc::clone(&channel.checks).acquire_owned().await;
    // Checking blocks; and it goes on when the client breaks off, so that it finds the file when it comes again.
    let answer = tokio::task::spawn_blocking(move || {
        let answer = gated.answer(&wanted);
        drop(check);
        answer
    });
    let answer = answer.await;
    let answer = answer.unwrap_or_else(|_| {
        let (kind, sentence) = (
            Failed::Here,
            "the gate failed; its log may say why".to_owned(),
        );
        Answer::Fail(Failure { kind, sentence })
    });
    match answer {
        Answer::Serve(content) => served(content, name, log, &path, asked, true),
        Answer::Absent => {
            log.absent(name);
            reply::absent()
        }
        Answer::Refuse(refusal) => {
            log.refused(name, &refusal);
            reply::refuse(&refusal, asked)
        }
        Answer::Fail(failure) => {
            log.failed(name, &path, &failure);
            reply::fail(&failure, asked)
        }
    }
}

fn served(
    content: Content,
    name: &str,
    log: &Log,
    path: &str,
    asked: &HeaderMap,
    is_new: bool,
) -> Reply {
    let reply = reply::serve(content, path, asked);
    log.served(name, path, reply::length(&reply), is_new);
    reply
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_call_it() {
        let call = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_called_local(&headers)
        };
        for host in [
            "127.0.0.1:7423",
            "127.0.0.1",
            "localhost:1",
            "LOCALHOST",
            "[::1]:7423",
            "127.1.2.3:80",
        ] {
            assert!(call(host), "{host}");
        }
        for host in [
            "example.org",
            "example.org:7423",
            "localhost.example.org",
            "10.0.0.1",
            "[::2]:1",
            "",
            "[",
        ] {
            assert!(!call(host), "{host}");
        }
        assert!(is_called_local(&HeaderMap::new()));
        let mut headers = HeaderMap::new();
        let host = header::HeaderValue::from_bytes(b"ex\xe4mple.org").unwrap();
        headers.insert(header::HOST, host);
        assert!(!is_called_local(&headers));
    }
}
