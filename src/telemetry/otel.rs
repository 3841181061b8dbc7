//! Traces over OTLP (HTTP, protobuf): the spans `run`, `gather`, `deliver`, `batch` and `call`, and the API's `request`.
//! Where to and how often is said by the standard variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_TRACES_SAMPLER`,
//! `OTEL_SERVICE_NAME` …); without an endpoint nothing is collected.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Subscriber, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Collects our own spans; `None` when nobody wants them.
pub(super) fn layer<S>() -> Option<impl Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    ENDPOINTS.iter().find(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))?;
    let provider = match provider() {
        Ok(provider) => provider,
        Err(error) => {
            // The log is not there yet.
            eprintln!("warning: no traces: {error}");
            return None;
        }
    };
    let tracer = provider.tracer("reveil");
    let _ = PROVIDER.set(provider);
    let ours = Targets::new().with_target("reveil", tracing::Level::INFO);
    Some(tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours))
}

fn provider() -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder().with_http().with_http_client(Client::new()?).build()?;
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name("reveil");
    }
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())
}

pub(super) fn finish() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(Duration::from_secs(3))
    {
        eprintln!("warning: the last traces were not delivered: {error}");
    }
}

/// Our own HTTP client on a thread of its own: the exporter calls from outside of the runtime, and after its end.
#[derive(Debug)]
struct Client {
    runtime: Arc<tokio::runtime::Runtime>,
    http: reqwest::Client,
    /// The latest attempt failed: said once, not every few seconds of an outage.
    failing: AtomicBool,
}

impl Client {
    fn new() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let http = crate::transport::http::client(Duration::from_secs(10))?;
        Ok(Self { runtime: Arc::new(runtime), http, failing: AtomicBool::new(false) })
    }

    fn tell(&self, result: &Result<Response<Bytes>, HttpError>) {
        let fault = match result {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("answered with status {}", response.status().as_u16())),
            Err(error) => {
                let timeout = error.downcast_ref().is_some_and(reqwest::Error::is_timeout);
                Some(if timeout { "no answer in time" } else { "cannot connect" }.to_owned())
            }
        };
        match (fault, self.failing.load(Ordering::Relaxed)) {
            (Some(fault), false) => warn!(error = fault, "The collector does not take the traces; they are lost"),
            (None, true) => info!("The collector takes the traces again"),
            (Some(_), true) | (None, false) => return,
        }
        self.failing.fetch_not(Ordering::Relaxed);
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let reply = http.execute(request.try_into()?).await?;
            let mut response = Response::builder().status(reply.status());
            if let Some(headers) = response.headers_mut() {
                headers.clone_from(reply.headers());
            }
            Ok::<_, HttpError>(response.body(reply.bytes().await?)?)
        });
        let result = sent.await?;
        self.tell(&result);
        result
    }
}
