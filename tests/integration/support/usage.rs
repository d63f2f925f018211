//! What a process of the operator uses (proc(5)).

use super::Operator;

impl Operator {
    /// The most memory that it ever had, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.kibibytes("VmHWM:")
    }

    /// The memory that it has, in KiB.
    #[allow(dead_code, reason = "benchmarks ask for it")]
    pub(crate) fn memory(&self) -> u64 {
        self.kibibytes("VmRSS:")
    }

    fn kibibytes(&self, field: &str) -> u64 {
        let status = self.proc("status");
        // setpriv is replaced by the operator, so this is the operator's.
        assert!(status.starts_with("Name:\tkeystead"), "{status}");
        let value = status.lines().find_map(|line| line.strip_prefix(field));
        let value = value.expect("the kernel tells of memory");
        let number = value.trim().trim_end_matches(" kB").trim().parse();
        number.expect("a number")
    }

    /// The processor time that it used, in seconds. The kernel counts in ticks, of which there are 100 a second.
    #[allow(dead_code, reason = "benchmarks ask for it")]
    #[allow(clippy::cast_precision_loss, reason = "ticks are few")]
    pub(crate) fn processor_time(&self) -> f64 {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.map(|ticks| ticks.parse::<u64>().expect("a number"));
        ticks.sum::<u64>() as f64 / 100.0
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).expect("the operator runs")
    }
}
