//! The runtime that requests need, hidden in this room. Owns its threads; must not know what they do.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Carries out what is asynchronous, for callers that are not.
#[derive(Debug)]
pub struct Engine {
    runtime: Option<Runtime>,
    handle: tokio::runtime::Handle,
}

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
        })
    }

    /// Waits for something.
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
    pub fn next<T>(&self, from: &mut mpsc::Receiver<T>) -> Option<T> {
        match from.try_recv() {
            Ok(next) => Some(next),
            Err(_) => self.block_on(from.recv()),
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
