//! Where consensus runs: a runtime of its own, with one worker.
//!
//! A write passes a dozen tasks on each node (connection, replication, openraft's core, log, state machine). On a runtime with
//! several workers each step may wake another thread; on one worker they follow each other. With 64 writers on three nodes of
//! two cores this saves a quarter of the CPU time of a write, and half of the calls of `futex`. And a busy HTTP
//! edge cannot keep a heartbeat waiting, since the kernel shares the cores between threads, not tasks.
//!
//! Limits: everything between a proposal and its answer shares one core, a few tens of thousands of writes a second. What
//! blocks goes elsewhere: syncs to the log's own thread, snapshots to blocking threads.

use tokio::task::JoinHandle;

use crate::error::Error;

#[cfg(not(rollcall_simulation))]
pub(super) use own::Executor;
#[cfg(rollcall_simulation)]
pub(super) use shared::Executor;

/// What came of `work`.
///
/// # Panics
/// When the work did.
async fn ended<T>(work: JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    work.await.unwrap_or_else(|ended| match ended.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Err(Error::ShuttingDown),
    })
}

#[cfg(not(rollcall_simulation))]
mod own {
    use tokio::runtime::{Builder, Runtime};

    use crate::error::Error;

    /// The runtime of one node. Dropping it ends the tasks that run there, wherever they are.
    #[derive(Debug)]
    pub(in crate::consensus) struct Executor(Option<Runtime>);

    impl Executor {
        pub(in crate::consensus) fn new() -> Result<Self, Error> {
            let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("consensus").enable_all().build();
            Ok(Self(Some(runtime.map_err(Error::io("cannot start the runtime of the log"))?)))
        }

        /// Runs `work` to its end there. When this future is dropped the work goes on, until the executor is dropped.
        ///
        /// # Panics
        /// When the work does.
        pub(in crate::consensus) async fn run<T: Send + 'static>(
            &self,
            work: impl Future<Output = Result<T, Error>> + Send + 'static,
        ) -> Result<T, Error> {
            let Some(runtime) = &self.0 else { return Err(Error::ShuttingDown) };
            super::ended(runtime.spawn(work)).await
        }
    }

    impl Drop for Executor {
        fn drop(&mut self) {
            if let Some(runtime) = self.0.take() {
                // Waiting for it is not allowed here: the caller may be a task itself.
                runtime.shutdown_background();
            }
        }
    }
}

#[cfg(rollcall_simulation)]
mod shared {
    use crate::error::Error;

    /// In a simulation: the runtime of the caller, which ends with its host.
    #[derive(Debug)]
    pub(in crate::consensus) struct Executor;

    impl Executor {
        pub(in crate::consensus) fn new() -> Result<Self, Error> {
            Ok(Self)
        }

        /// Runs `work` to its end.
        ///
        /// # Panics
        /// When the work does.
        pub(in crate::consensus) async fn run<T: Send + 'static>(
            &self,
            work: impl Future<Output = Result<T, Error>> + Send + 'static,
        ) -> Result<T, Error> {
            super::ended(tokio::spawn(work)).await
        }
    }
}
