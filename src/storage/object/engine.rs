//! The runtime that requests need, hidden in this room. Owns its threads; must not know what they do.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Carries out what is asynchronous, for callers that are not.
#[derive(Debug)]
pub struct Engine {
    runtime: Option<Runtime>,
    handle: tokio::runtime::Handle,
    /// What says that the run is to stop.
    stop: Mutex<Option<Arc<AtomicBool>>>,
}

/// How often whoever waits looks whether the run is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// The run is to stop, and so nothing is waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl Engine {
    /// Starts it.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new() -> io::Result<Engine> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("objects")
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        Ok(Engine {
            runtime: Some(runtime),
            handle,
            stop: Mutex::default(),
        })
    }

    /// Lets those who wait give up when this is set.
    pub fn heed(&self, stop: Option<Arc<AtomicBool>>) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop;
    }

    /// Waits for something that may be left undone.
    ///
    /// # Errors
    /// When the run is to stop before it has come.
    pub fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, Stopped> {
        let stop = self.stop.lock();
        let Some(stop) = stop.unwrap_or_else(PoisonError::into_inner).clone() else {
            return Ok(self.block_on(what));
        };
        self.block_on(async {
            let mut what = pin!(what);
            loop {
                match tokio::time::timeout(LOOK, what.as_mut()).await {
                    Ok(done) => return Ok(done),
                    Err(_) if stop.load(Ordering::Relaxed) => return Err(Stopped),
                    Err(_) => {}
                }
            }
        })
    }

    /// Waits for something, whatever becomes of the run.
    pub fn block_on<T>(&self, what: impl Future<Output = T>) -> T {
        self.handle.block_on(what)
    }

    /// Lets something go on by itself.
    pub fn spawn<T: Send + 'static>(
        &self,
        what: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.handle.spawn(what)
    }

    /// Waits for what comes next.
    ///
    /// # Errors
    /// As [`Engine::wait`].
    pub fn next<T>(&self, from: &mut mpsc::Receiver<T>) -> Result<Option<T>, Stopped> {
        match from.try_recv() {
            Ok(next) => Ok(Some(next)),
            Err(_) => self.wait(from.recv()),
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
