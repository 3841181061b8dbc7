//! Writes chunks made on several threads in their own order, in bounded memory.

use std::io::{self, Write};
use std::num::NonZero;
use std::ops::Range;
use std::sync::mpsc::sync_channel;
use std::thread;

/// Persons per chunk: about a megabyte of rows, large against the hand-over, small against memory.
const CHUNK: u64 = 8_192;

/// Calls `make` for every chunk of `0..total` on all cores, then writes each chunk's bytes to `out` and hands its tally to
/// `fold`, both in ascending order. Each worker runs at most two chunks ahead of the writer.
///
/// # Errors
/// What `make` or `out` returns; the first in chunk order stops the rest.
pub(crate) fn write_in_order<T: Send>(
    total: u64,
    out: &mut impl Write,
    make: impl Fn(Range<u64>, &mut Vec<u8>) -> io::Result<T> + Sync,
    mut fold: impl FnMut(T),
) -> io::Result<()> {
    let chunks = total.div_ceil(CHUNK);
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let workers = cores.min(chunks).max(1);
    let make = &make;
    thread::scope(|scope| {
        let receivers = (0..workers)
            .map(|worker| {
                let (sender, receiver) = sync_channel(1);
                scope.spawn(move || {
                    for chunk in (worker..chunks).step_by(workers as usize) {
                        let mut bytes = Vec::new();
                        let range = chunk * CHUNK..total.min((chunk + 1) * CHUNK);
                        let made = make(range, &mut bytes).map(|tally| (bytes, tally));
                        // The writer has stopped at an error and hung up.
                        if sender.send(made).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect::<Vec<_>>();
        for receiver in (0..chunks).map(|chunk| &receivers[(chunk % workers) as usize]) {
            let Ok(made) = receiver.recv() else {
                // The worker panicked; the scope passes the panic on once the others have hung up.
                break;
            };
            let (bytes, tally) = made?;
            out.write_all(&bytes)?;
            fold(tally);
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_out_in_order_and_whole() {
        let total = CHUNK * 7 + 3;
        let mut out = Vec::new();
        let mut persons = 0;
        let make = |range: Range<u64>, bytes: &mut Vec<u8>| {
            for index in range.clone() {
                writeln!(bytes, "{index}")?;
            }
            Ok(range.end - range.start)
        };
        write_in_order(total, &mut out, make, |n| persons += n).expect("a Vec takes every write");
        assert_eq!(persons, total);
        let expected = (0..total).map(|index| format!("{index}\n")).collect::<String>();
        assert_eq!(String::from_utf8(out).expect("digits"), expected);
    }

    #[test]
    fn a_full_disk_stops_the_work() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let make = |_: Range<u64>, bytes: &mut Vec<u8>| {
            bytes.push(b'x');
            Ok(())
        };
        let error = write_in_order(CHUNK * 50, &mut Full, make, |()| ()).expect_err("the writer is full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn nobody_is_nothing() {
        let mut out = Vec::new();
        write_in_order(0, &mut out, |_, _| Ok(()), |()| ()).expect("nothing to fail");
        assert!(out.is_empty());
    }
}
