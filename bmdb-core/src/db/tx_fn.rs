//! Closures that run in transactions: the bounds that they must meet.

use crate::db::tx::Tx;
use crate::error::TxError;
use diesel_async::AsyncPgConnection;

/// An async closure whose future can be named, so that bounds can require that it is `Send`.
pub trait TxFn<A, R>: AsyncFn(A) -> R + Fn(A) -> <Self as TxFn<A, R>>::Fut {
    /// The closure's future.
    type Fut: Future<Output = R>;
}

impl<F, A, Fut, R> TxFn<A, R> for F
where
    F: AsyncFn(A) -> R + Fn(A) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// The body of a session's transaction: an async closure over a [`Tx`] whose future is `Send`. Every such
/// closure implements it, and nothing else can.
///
/// Write `async |tx| …`: an `async move` closure with captures, and one that changes a captured variable,
/// do not implement it, because a transaction may run more than once.
pub trait TxBody<T>:
    for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Send + Sync
{
}

impl<T, F> TxBody<T> for F where
    F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Send + Sync
{
}

/// The body of a transaction without a session, such as [`Reader::read`](crate::Reader::read): like
/// [`TxBody`], over a connection.
pub trait ConnBody<T>:
    for<'r> TxFn<&'r mut AsyncPgConnection, Result<T, TxError>, Fut: Send> + Send + Sync
{
}

impl<T, F> ConnBody<T> for F where
    F: for<'r> TxFn<&'r mut AsyncPgConnection, Result<T, TxError>, Fut: Send> + Send + Sync
{
}
