//! What Prometheus and a service manager ask a process over HTTP: `/metrics`, its numbers in Prometheus' text format; `/healthz`, whether it lives;
//! `/readyz`, whether it does its work. A thread answers, one request after the other; whoever reaches it may read it, so the address is a loopback or an
//! inner one.
#![deny(unsafe_code)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use tiny_http::{Header, Method, Response, Server};

/// Nobody could ask for numbers.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot serve metrics at {address}: {source}; give --metrics another address, of this machine and free"
)]
pub struct ScrapeError {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What a process says of itself; the text of an error is what does not work.
pub trait Numbers: Send + Sync + 'static {
    /// Its numbers in Prometheus' text format.
    ///
    /// # Errors
    /// They could not be had: answered 503.
    fn text(&self) -> Result<String, String>;

    /// Whether it does its work.
    ///
    /// # Errors
    /// It does not: answered 503. By default it does when it has its numbers.
    fn ready(&self) -> Result<(), String> {
        self.text().map(drop)
    }
}

impl<F: Fn() -> Result<String, String> + Send + Sync + 'static> Numbers for F {
    fn text(&self) -> Result<String, String> {
        self()
    }
}

/// The server, ended with the value.
pub struct Scrape {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
}

impl Scrape {
    /// Serves from now on.
    ///
    /// # Errors
    /// The address is not of this machine, or taken.
    pub fn serve(address: SocketAddr, numbers: impl Numbers) -> Result<Scrape, ScrapeError> {
        let fail = |source| ScrapeError { address, source };
        let server = Arc::new(Server::http(address).map_err(fail)?);
        let served = Arc::clone(&server);
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || answer_all(&served, &numbers))
            .map_err(|error| fail(error.into()))?;
        Ok(Scrape {
            server,
            thread: Some(thread),
        })
    }

    /// Where it serves: with port 0 the one that it was given.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.server_addr().to_ip()
    }
}

impl Drop for Scrape {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it has nothing to say
        }
    }
}

fn answer_all(server: &Server, numbers: &dyn Numbers) {
    for request in server.incoming_requests() {
        let ok = || Response::from_string("ok\n");
        let unavailable = |why: String| Response::from_string(why + "\n").with_status_code(503);
        let answer = match (request.method(), request.url()) {
            (Method::Get, "/metrics") => match numbers.text() {
                Ok(text) => Response::from_string(text).with_header(
                    "Content-Type: text/plain; version=0.0.4"
                        .parse::<Header>()
                        .expect("a header"),
                ),
                Err(why) => unavailable(why),
            },
            (Method::Get, "/healthz") => ok(),
            (Method::Get, "/readyz") => match numbers.ready() {
                Ok(()) => ok(),
                Err(why) => unavailable(why),
            },
            _ => Response::from_string("GET /metrics, /healthz and /readyz are all there is\n")
                .with_status_code(404),
        };
        let _ = request.respond(answer); // whoever asked has gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    struct Half(Arc<AtomicBool>);

    impl Numbers for Half {
        fn text(&self) -> Result<String, String> {
            Ok("ring0_up 1\n".to_owned())
        }
        fn ready(&self) -> Result<(), String> {
            match self.0.load(Ordering::Acquire) {
                true => Ok(()),
                false => Err("the disk is full".to_owned()),
            }
        }
    }

    #[test]
    fn numbers_life_and_readiness_are_told() {
        let works = Arc::new(AtomicBool::new(true));
        let scrape = Scrape::serve(([127, 0, 0, 1], 0).into(), Half(Arc::clone(&works))).unwrap();
        let address = scrape.address().unwrap();
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .build()
            .into();
        let get = |path: &str| {
            let mut answer = agent.get(format!("http://{address}{path}")).call().unwrap();
            let text = answer.body_mut().read_to_string().unwrap();
            (answer.status().as_u16(), text)
        };
        assert_eq!(get("/metrics"), (200, "ring0_up 1\n".to_owned()));
        assert_eq!(get("/healthz").0, 200);
        assert_eq!(get("/readyz").0, 200);
        works.store(false, Ordering::Release);
        assert_eq!(get("/readyz"), (503, "the disk is full\n".to_owned()));
        assert_eq!(get("/healthz").0, 200, "it lives");
        assert_eq!(get("/").0, 404);
        assert!(
            Scrape::serve(address, || Ok(String::new())).is_err(),
            "the address is taken"
        );
        drop((scrape, agent));
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_ok() {
            assert!(Instant::now() < end, "it still listens");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
