//! The gate: a proxy in front of channels that lets only what verifies through. Owns the order of its life (channels
//! are opened, then it listens, answers, and lets the last answers finish), and the runtime, which no other room but
//! the signed index knows; must not know flags.

pub mod answer;
mod body;
pub mod channel;
mod flight;
mod graced;
mod index;
mod keep;
pub mod log;
mod package;
mod page;
mod path;
mod plain;
pub mod policy;
mod range;
mod records;
mod reply;
mod serve;
mod shelf;
mod signed;
mod socket;
pub mod store;
mod token;
mod trust;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use self::answer::Event;
use self::channel::{Gated, Guard};
use self::log::{Log, Sink};
use self::page::About;
use self::policy::ChannelPolicy;
use self::serve::{Behind, Site};
use self::store::{Store, StoreConfig};
pub use self::token::Token;
use crate::error::Error;

/// How long packages of an index that was served stay servable when a newer one no longer names them.
const GRACE: Duration = Duration::from_secs(3600);

/// The most requests that wait for upstreams, of all channels together, and the fewest of each.
const CHECKS: usize = 192;
const FEWEST_CHECKS: usize = 8;

/// The threads that wait for the disk for files which were checked, whatever upstreams do.
const DISK_THREADS: usize = 64;

/// What one client may cost, and all of them together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most connections at once; others wait until one ends.
    pub connections: u32,
    /// How long a request's head may take, and how long a connection may rest between two.
    pub head: Duration,
    /// How long a client may take nothing of what is sent.
    pub stall: Duration,
    /// How long answers may go on after the gate was told to stop.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1024,
            head: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            farewell: Duration::from_secs(30),
        }
    }
}

/// How many open files a connection may come to take: its own, the upstream's, and those of the store.
const FILES_EACH: u64 = 4;

impl Limits {
    /// No more clients than there may be open files for: the others wait, and none gets an error for it.
    fn affordable(mut self) -> Limits {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        if let Some(files) = files {
            let most = u32::try_from(files / FILES_EACH).unwrap_or(u32::MAX);
            self.connections = self.connections.min(most).max(1);
        }
        self
    }
}

/// A gate that is to be.
pub struct Plan {
    /// Where it listens; port 0 stands for any that is free.
    pub listen: SocketAddr,
    /// The secret in its paths, if there is one.
    pub token: Option<Token>,
    /// Its channels.
    pub channels: Vec<ChannelPolicy>,
    /// Where checked files are kept.
    pub store: StoreConfig,
    /// Where it remembers which indexes it saw: a folder of its own for each channel is made there.
    pub state: PathBuf,
    /// What clients may cost.
    pub limits: Limits,
    /// Who gets a line for each event.
    pub sink: Box<Sink>,
}

/// A gate that answers.
pub struct Gate {
    address: SocketAddr,
    prefix: String,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    runtime: Runtime,
}

/// Starts a gate: when this returns, it answers.
///
/// # Errors
/// When a channel or the store can't be opened, or the address is taken.
pub fn start(plan: Plan) -> Result<Gate, Error> {
    let names = plan.channels.iter().map(|one| one.name.to_string());
    let log = Arc::new(Log::new(names, plan.sink));
    let store = Arc::new(Store::open(plan.store)?);
    let mut channels = Vec::new();
    // An upstream that keeps its clients waiting keeps those of other channels waiting no longer than a share.
    let count = plan.channels.len();
    let checks = (CHECKS.checked_div(count).unwrap_or(CHECKS)).max(FEWEST_CHECKS);
    for policy in plan.channels {
        channels.push(open(policy, &plan.state, &store, &log, checks)?);
    }
    let runtime = runtime(checks.saturating_mul(count).saturating_add(DISK_THREADS))?;
    let (listener, address) = runtime.block_on(listen(plan.listen))?;
    let prefix = plan.token.as_ref().map_or_else(String::new, Token::prefix);
    let site = Arc::new(Site {
        channels,
        log,
        token: plan.token,
        is_local: address.ip().is_loopback(),
    });
    let (stop, stopped) = watch::channel(false);
    let serving = runtime.spawn(serve::serve(
        listener,
        site,
        plan.limits.affordable(),
        stopped,
    ));
    Ok(Gate {
        address,
        prefix,
        stop,
        serving,
        runtime,
    })
}

impl Gate {
    /// Where it answers, with its token and a final slash.
    pub fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.prefix)
    }

    /// Takes no more clients, lets the answers that are on their way finish within bounds, and ends.
    pub fn shut_down(self) {
        // Where nobody hears it, serving has ended already.
        let _ = self.stop.send(true);
        let _ = self.runtime.block_on(self.serving);
        // What still waits for an upstream has nobody to answer to.
        self.runtime.shutdown_background();
    }
}

fn runtime(threads: usize) -> Result<Runtime, Error> {
    let built = Builder::new_multi_thread()
        .max_blocking_threads(threads)
        .enable_all()
        .build();
    built.map_err(|cause| Error::Threads(cause.to_string()))
}

async fn listen(wanted: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let fail = |cause| Error::Listen {
        address: wanted.to_string(),
        cause,
    };
    let listener = TcpListener::bind(wanted).await.map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    Ok((listener, address))
}

fn open(
    policy: ChannelPolicy,
    state: &std::path::Path,
    store: &Arc<Store>,
    log: &Arc<Log>,
    checks: usize,
) -> Result<Behind, Error> {
    let upstream = crate::upstream::open_within(&policy.source.as_text(), policy.timeout)?;
    let about = About {
        name: policy.name.to_string(),
        place: upstream.name().to_owned(),
        require: policy.require,
        trust: policy
            .trust
            .iter()
            .map(|key| key.name().to_string())
            .collect(),
    };
    let (name, log) = (about.name.clone(), Arc::clone(log));
    let guard = Guard {
        name: about.name.clone(),
        upstream,
        require: policy.require,
        pinned: policy.trust,
        min_bits: policy.min_bits,
        fresh: policy.fresh,
        grace: GRACE,
        state: state.join(&about.name),
        listener: Arc::new(move |event| hear(&log, &name, event)),
    };
    let gated = Arc::new(Gated::open(guard, Arc::clone(store))?);
    let checks = Arc::new(Semaphore::new(checks));
    Ok(Behind {
        about,
        gated,
        checks,
    })
}

fn hear(log: &Log, channel: &str, event: Event) {
    match event {
        Event::LetThrough(refusal) => log.let_through(channel, &refusal),
        Event::Verified { version, expires } => {
            let until = jiff::Timestamp::from_millisecond(expires);
            let until =
                until.map_or_else(|_| String::new(), |time| format!(", good until {time:.0}"));
            log.note(channel, format!("index verified: version {version}{until}"));
        }
    }
}
