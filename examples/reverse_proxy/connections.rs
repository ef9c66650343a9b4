//! Connections of clients: accepted, served, and ended in order.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::informational::{Informing, Interim};
use crate::proxy::Proxy;

/// How long requests under way may take to end after the proxy was asked to stop.
const PARTING: Duration = Duration::from_secs(10);

/// Serves all who connect, until `stop`. Whether those who were being answered then got their answer.
pub(crate) async fn serve(
    listener: TcpListener,
    proxy: Proxy,
    stop: impl Future<Output = ()>,
) -> bool {
    let proxy = Arc::new(proxy);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let watcher = connections.watcher();
                tokio::spawn(serve_connection(stream, Arc::clone(&proxy), watcher));
            }
            // Of one connection, or for want of file descriptors: others may end meanwhile.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
    drop(listener);
    timeout(PARTING, connections.shutdown()).await.is_ok()
}

async fn serve_connection(stream: TcpStream, proxy: Arc<Proxy>, watcher: Watcher) {
    // Parts of a body go out as they come.
    let _ = stream.set_nodelay(true);
    let interim = Interim::default();
    let io = TokioIo::new(Informing::new(stream, interim.clone()));
    let service = service_fn(move |request| Arc::clone(&proxy).answer(request, interim.clone()));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    let connection = server.serve_connection_with_upgrades(io, service);
    // An error here is the client's, who has gone or has been told.
    let _ = watcher.watch(connection.into_owned()).await;
}
