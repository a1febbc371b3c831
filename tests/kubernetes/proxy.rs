//! A way to the API server that can be cut: what a network does to connections that are held for long.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::harness::kubectl;
use crate::support::Folder;

/// A port of this machine that leads to the API server.
pub struct Proxy {
    config: Value,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn start() -> Self {
        let mut config: Value =
            serde_json::from_str(&kubectl(&["config", "view", "--raw", "--minify", "--flatten", "-o", "json"])).expect("JSON");
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().and_then(|server| server.strip_prefix("https://")).expect("an https address").to_owned();
        let server = if server.contains(':') { server } else { format!("{server}:443") };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        cluster["server"] = format!("https://{}", listener.local_addr().expect("an address")).into();
        cluster["tls-server-name"] = server.rsplit_once(':').expect("a port").0.into();
        let open = Arc::new(Mutex::new(Vec::new()));
        let streams = open.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(upstream) = TcpStream::connect(&server) else { continue };
                let copy = |stream: &TcpStream| stream.try_clone().expect("another handle");
                streams.lock().expect("no panic").extend([copy(&client), copy(&upstream)]);
                for (mut from, mut to) in [(copy(&client), copy(&upstream)), (upstream, client)] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        Self { config, open }
    }

    /// A kubeconfig that goes this way.
    pub fn kubeconfig(&self, folder: &Folder) -> PathBuf {
        folder.file("proxied", &self.config.to_string())
    }

    /// Cuts all connections that are open, and tells how many there were.
    pub fn cut(&self) -> usize {
        let streams = std::mem::take(&mut *self.open.lock().expect("no panic"));
        streams.iter().filter(|stream| stream.shutdown(Shutdown::Both).is_ok()).count()
    }
}
