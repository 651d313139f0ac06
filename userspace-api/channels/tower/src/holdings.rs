//! The newest state of a channel for whoever asks over HTTP: a trader that leaves and has an older one (CUSTODY 17).

use ring0_channels::keep;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use tiny_http::{Header, Method, Response, Server};

/// Serves `GET /holdings/<channel>` from the folders from now on, as long as the process lives. They are read at each question: it keeps nothing.
pub(crate) fn serve(address: SocketAddr, folders: Vec<PathBuf>) -> io::Result<()> {
    let server = Server::http(address).map_err(io::Error::other)?;
    std::thread::Builder::new()
        .name("holdings".to_owned())
        .spawn(move || {
            for request in server.incoming_requests() {
                let asked = match request.method() {
                    Method::Get => request.url().strip_prefix("/holdings/"),
                    _ => None,
                };
                let found = asked.map(|channel| find(channel, &folders));
                let answer = match found {
                    Some(Ok(Some(text))) => Response::from_string(text).with_header(
                        "Content-Type: application/json"
                            .parse::<Header>()
                            .expect("a header"),
                    ),
                    Some(Ok(None)) => Response::from_string("no state of this channel is here\n")
                        .with_status_code(404),
                    Some(Err(why)) => Response::from_string(why).with_status_code(500),
                    None => Response::from_string("GET /holdings/<channel> is all there is\n")
                        .with_status_code(404),
                };
                let _ = request.respond(answer); // whoever asked has gone
            }
        })?;
    Ok(())
}

/// The newest state that counts, as JSON.
fn find(channel: &str, folders: &[PathBuf]) -> Result<Option<String>, String> {
    let (holdings, _) = keep::newest(folders).map_err(|why| why.to_string())?;
    let mut holdings = holdings.into_iter();
    let found = holdings.find(|it| it.channel().to_string().eq_ignore_ascii_case(channel));
    Ok(found.map(|it| serde_json::to_string(&it).expect("a holding is plain data")))
}
