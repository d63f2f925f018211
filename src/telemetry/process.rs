//! Memory and open files of this process, read when somebody asks.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Shows the metrics that every Prometheus client library shows. What `/proc` does not tell is
/// left out.
#[derive(Debug)]
pub(crate) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        if let Some(bytes) = resident_memory() {
            show(
                &mut encoder,
                "resident_memory",
                "Resident memory",
                Some(&Unit::Bytes),
                bytes,
            )?;
        }
        if let Some(count) = open_files() {
            show(
                &mut encoder,
                "open_fds",
                "Open file descriptors",
                None,
                count,
            )?;
        }
        Ok(())
    }
}

fn show(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: i64,
) -> std::fmt::Result {
    let gauge = ConstGauge::new(value);
    let name = format!("process_{name}");
    gauge.encode(encoder.encode_descriptor(&name, help, unit, gauge.metric_type())?)
}

fn resident_memory() -> Option<i64> {
    resident_bytes(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The resident set in a `/proc/<pid>/status`, which says it in kB; `statm` would say it in pages,
/// whose size differs between machines.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: i64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn open_files() -> Option<i64> {
    // The descriptor that lists the folder is among those it lists.
    let count = fs::read_dir("/proc/self/fd")
        .ok()?
        .count()
        .saturating_sub(1);
    i64::try_from(count).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_in_bytes() {
        let status = "Name:\tkeystead\nVmHWM:\t   99999 kB\nVmRSS:\t   12345 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes(status), Some(12345 * 1024));
        assert_eq!(resident_bytes("VmRSS:\t12345 pages\n"), None);
        assert_eq!(resident_bytes(""), None);
    }

    #[test]
    fn opening_files_raises_the_count() {
        let before = open_files().unwrap();
        let held: Vec<_> = (0..50)
            .map(|_| fs::File::open("/proc/self/status").unwrap())
            .collect();
        // Other tests of this process open and close files meanwhile.
        assert!(open_files().unwrap() >= before + 25);
        drop(held);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_memory().unwrap() > 100 * 1024);
    }
}
