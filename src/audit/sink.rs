//! Where lines go.

use std::io::{self, Write};

use super::chain::Resumed;

/// A place that lines are written to. Used by one thread.
pub trait Sink: Send {
    /// What it is called in messages.
    fn name(&self) -> String;

    /// Makes room for about that many bytes: opens what is not open, and begins a new file where the old one is full.
    ///
    /// # Errors
    /// Nothing can be written now.
    fn prepare(&mut self, bytes: usize) -> io::Result<Place>;

    /// Writes whole lines, and returns when they are as safe as the sink makes them.
    ///
    /// # Errors
    /// It is not known how much was written; the next [`Sink::prepare`] undoes it or says that something is torn.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// What a sink found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The end of what another process wrote there.
    pub resumes: Option<Resumed>,
    /// Whether a file begins: its first line says so.
    pub begins: bool,
}

/// A stream that nobody reads back: standard output, where the log goes too. Lines of the trail are told from those of the log
/// by their first member, `"stream":"audit"`.
pub struct StreamSink<W> {
    writer: W,
    torn: bool,
}

impl StreamSink<io::Stdout> {
    /// Standard output. It takes the lock that the log takes, so that lines stay whole.
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }
}

impl<W: Write + Send> StreamSink<W> {
    /// A stream.
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            torn: false,
        }
    }
}

impl<W: Write + Send> Sink for StreamSink<W> {
    fn name(&self) -> String {
        "standard output".to_owned()
    }

    fn prepare(&mut self, _: usize) -> io::Result<Place> {
        if self.torn {
            // What was torn is ended, so that the next line is one.
            self.writer.write_all(b"\n")?;
            self.torn = false;
        }
        Ok(Place::default())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self
            .writer
            .write_all(lines)
            .and_then(|()| self.writer.flush());
        self.torn = written.is_err();
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a few bytes and then is full, until it is told otherwise.
    struct Small {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_torn_does_not_swallow_the_next_line() {
        let mut sink = StreamSink::new(Small {
            taken: Vec::new(),
            room: 3,
        });
        sink.prepare(0).unwrap();
        assert!(sink.write(b"first\n").is_err());
        assert!(sink.prepare(0).is_err());
        sink.writer.room = 100;
        sink.prepare(0).unwrap();
        sink.write(b"second\n").unwrap();
        assert_eq!(sink.writer.taken, b"fir\nsecond\n");
    }

    #[test]
    fn a_full_device_is_noticed() {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let mut sink = StreamSink::new(full.unwrap());
        let error = sink.write(b"line\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
