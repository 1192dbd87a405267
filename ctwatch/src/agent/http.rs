//! Three paths over HTTP/1.1, for a monitoring system: `/metrics`, `/healthz`, `/snapshot.json`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{Instant, timeout},
};

use super::latest::{Health, Latest};
use crate::{
    host::own_process,
    output::{
        json,
        metrics::{self, Age, Form},
    },
};

/// Whoever comes when there are so many already is turned away.
const CONNECTIONS_MAX: usize = 32;
/// A connection on which nothing is asked for so long is closed.
const IDLE: Duration = Duration::from_secs(120);
/// No connection lasts longer, so that one that does not read its answers does not stay either.
const LIFETIME: Duration = Duration::from_secs(3600);

const INDEX: &str = "\
ctwatch

/metrics        for Prometheus
/healthz        200 while snapshots come, 503 if they have stopped
/snapshot.json  the latest snapshot of each namespace, as 'ctwatch watch --json' prints it
";

/// What is served, and how.
#[derive(Clone, Debug)]
pub struct Served {
    /// The latest snapshots.
    pub latest: watch::Receiver<Arc<Latest>>,
    /// See [`metrics::Page::floor_entries`].
    pub floor_entries: u64,
    /// Time between two snapshots.
    pub interval: Duration,
}

/// Serves for as long as it is polled. What goes wrong on one connection ends that connection.
pub async fn serve(listener: TcpListener, served: Served) -> Infallible {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: those who are there have to leave first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let served = served.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let accepted = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
            let form = Form::wanted_by(accepted.unwrap_or_default());
            let answer = served.answer(request.method(), request.uri().path(), form);
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(async move {
            // Whoever broke it off knows.
            drop(timeout(LIFETIME, connection).await);
            drop(place);
        });
    }
}

impl Served {
    fn answer(&self, method: &Method, path: &str, form: Form) -> Response<Full<Bytes>> {
        if ![Method::GET, Method::HEAD].contains(method) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/" => text(StatusCode::OK, INDEX),
            "/metrics" => self.metrics(form),
            "/healthz" => self.health(),
            "/snapshot.json" => self.snapshots(),
            _ => text(StatusCode::NOT_FOUND, INDEX),
        }
    }

    fn metrics(&self, form: Form) -> Response<Full<Bytes>> {
        let latest = Arc::clone(&self.latest.borrow());
        let age = match latest.health(Instant::now(), self.interval) {
            Health::Fine | Health::Waiting => Age::Current,
            Health::Stalled(_) => Age::Outdated,
        };
        let page = metrics::Page {
            snapshots: latest.snapshots().cloned().collect(),
            age,
            floor_entries: self.floor_entries,
            process: own_process::read(),
            recording: latest.recording(),
        };
        match page.text(form) {
            Ok(page) => of_type(StatusCode::OK, form.content_type(), page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }

    fn health(&self) -> Response<Full<Bytes>> {
        let latest = Arc::clone(&self.latest.borrow());
        match latest.health(Instant::now(), self.interval) {
            // Whoever watches is told of a recording that fails, but that is no reason to end what serves.
            Health::Fine if latest.recording().is_some_and(|recording| recording.is_failing()) => {
                text(StatusCode::OK, "ok, but the recording cannot be written: stderr says why\n")
            }
            Health::Fine => text(StatusCode::OK, "ok\n"),
            Health::Waiting => text(StatusCode::OK, "waiting: nothing has been seen so far\n"),
            Health::Stalled(age) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                &format!(
                    "no snapshot for {} s: connection tracking was unloaded, or the collector hangs; stderr says which\n",
                    age.as_secs()
                ),
            ),
        }
    }

    fn snapshots(&self) -> Response<Full<Bytes>> {
        let latest = Arc::clone(&self.latest.borrow());
        let lines: Vec<String> = latest.snapshots().map(|each| json::snapshot(each)).collect();
        of_type(StatusCode::OK, "application/json", format!("[{}]\n", lines.join(",\n")))
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    of_type(status, "text/plain; charset=utf-8", text.to_owned())
}

fn of_type(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::output::sample;

    async fn answer(method: Method, path: &str, latest: Latest) -> (StatusCode, String, String) {
        let (_sender, latest) = watch::channel(Arc::new(latest));
        let served = Served { latest, floor_entries: 0, interval: Duration::from_secs(1) };
        let response = served.answer(&method, path, Form::OpenMetrics);
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).unwrap())
    }

    fn latest() -> Latest {
        Latest::of_interval(vec![Arc::new(sample::snapshot())], None, Instant::now())
    }

    #[tokio::test]
    async fn each_path_answers_in_its_own_type() {
        let (status, kind, page) = answer(Method::GET, "/metrics", latest()).await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, Form::OpenMetrics.content_type()));
        assert!(page.contains("ctwatch_entries{netns=\"gateway\"} 62000"), "{page}");
        let (status, kind, body) = answer(Method::GET, "/snapshot.json", latest()).await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body[0]["table"]["entries"], 62_000);
        let (status, _, body) = answer(Method::GET, "/healthz", latest()).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, "ok\n"));
        let (status, _, body) = answer(Method::GET, "/nothing", latest()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(body.contains("/metrics"), "{body}");
        let (status, ..) = answer(Method::POST, "/metrics", latest()).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn before_the_first_snapshot_it_waits() {
        let (status, _, body) = answer(Method::GET, "/healthz", Latest::default()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.starts_with("waiting"), "{body}");
        let (_, _, body) = answer(Method::GET, "/snapshot.json", Latest::default()).await;
        assert_eq!(body, "[]\n");
        let (status, _, page) = answer(Method::GET, "/metrics", Latest::default()).await;
        assert_eq!(status, StatusCode::OK);
        assert!(page.contains("ctwatch_build_info"), "{page}");
    }
}
