//! Serves the simulated platforms until Ctrl-C:
//! `cargo run -p reveil-sandbox --example serve -- --port 8899 --accounts accounts.csv --contacts contacts.csv --speed 60`

use reveil_sandbox::{Delays, RealTime, Sandbox, Settings};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = Settings::default();
    let mut port = 8899;
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        if flag == "--no-delays" {
            settings.delays = Delays::none();
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--port" => port = value.parse()?,
            "--accounts" => settings.accounts = Some(value.into()),
            "--contacts" => settings.contacts = Some(value.into()),
            "--speed" => settings.time = Arc::new(RealTime::new(value.parse()?, chrono::TimeDelta::zero())),
            "--faults" => settings.faults = value.parse()?,
            "--seed" => settings.seed = value.parse()?,
            "--state" => settings.state = Some(value.into()),
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let sandbox = Sandbox::start(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), settings).await?;
    for slug in ["meta", "google", "control"] {
        println!("{}", sandbox.base_url(slug));
    }
    tokio::signal::ctrl_c().await?;
    sandbox.stop().await?;
    Ok(())
}
