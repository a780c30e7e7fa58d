//! A future in a box: what an asynchronous method of a trait object returns.
//!
//! The ports between modules are trait objects, so that tests can put a simulated world behind them.

use std::pin::Pin;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
