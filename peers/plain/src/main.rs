//! Serves what the library makes, on a port of its own that it prints: `larder-peers-plain SIZE`.

use std::io;

use tokio::net::TcpListener;

fn main() -> io::Result<()> {
    let size = std::env::args().nth(1).and_then(|size| size.parse().ok());
    let size = size.ok_or_else(|| io::Error::other("usage: larder-peers-plain SIZE"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        larder_peers_plain::serve(listener, size).await
    })
}
