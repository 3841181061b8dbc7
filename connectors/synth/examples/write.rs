//! Writes the four files of a synthetic population: `write PERSONS DIRECTORY [SEED]`, as of 2026-01-01.

use chrono::NaiveDate;
use reveil_synth::{Histories, People};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = std::env::args().skip(1).collect::<Vec<_>>();
    let (persons, directory, seed) = match arguments.as_slice() {
        [persons, directory] => (persons.parse()?, Path::new(directory), 20_260_101),
        [persons, directory, seed] => (persons.parse()?, Path::new(directory), seed.parse()?),
        _ => return Err("usage: write PERSONS DIRECTORY [SEED]".into()),
    };
    std::fs::create_dir_all(directory)?;
    let create = |name| File::create(directory.join(name)).map(BufWriter::new);
    let as_of = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date");
    let people = People { persons, seed };
    let started = Instant::now();
    let done = |what, rows| println!("{what}: {rows} rows, {:.1} s since the start", started.elapsed().as_secs_f64());
    done("contacts", people.write_contacts(&mut create("contacts.csv")?)?.rows);
    done("accounts", people.write_accounts(&mut create("accounts.csv")?)?.rows);
    let histories = Histories::online_retail();
    done("orders", histories.write_orders(persons, seed, as_of, &mut create("orders.csv")?)?.orders);
    done("engagement", histories.write_engagement(persons, seed, as_of, &mut create("engagement.csv")?)?);
    Ok(())
}
