//! The serial console: UART 0 on the pins where the chip's ROM has it, 115,200 baud.

use app::Board;
use core::fmt::{Arguments, Write as _};
use esp_hal::Blocking;
use esp_hal::peripherals::{GPIO20, GPIO21, UART0};
use esp_hal::time::Instant;
use esp_hal::uart::{Config, Uart};

/// UART 0.
pub struct Console(Uart<'static, Blocking>);

impl Console {
    pub fn new(uart: UART0<'static>, tx: GPIO21<'static>, rx: GPIO20<'static>) -> Self {
        let uart = Uart::new(uart, Config::default()).expect("the default settings are in range");
        Self(uart.with_tx(tx).with_rx(rx))
    }

    /// The console as a panic takes it, whoever holds it.
    pub fn stolen() -> Option<Self> {
        // SAFETY: called when nothing else runs any more.
        let (uart, tx) = unsafe { (UART0::steal(), GPIO21::steal()) };
        let uart = Uart::new(uart, Config::default()).ok()?;
        Some(Self(uart.with_tx(tx)))
    }

    /// Waits for a line that is not empty; what does not fit `text` or is not UTF-8 is left out.
    pub fn read_line<'t>(&mut self, text: &'t mut [u8]) -> &'t str {
        let mut len = 0;
        let mut byte = [0];
        loop {
            // A frame that came damaged is a character that did not come.
            let Ok(1) = self.0.read(&mut byte) else {
                continue;
            };
            match byte[0] {
                b'\r' | b'\n' if len == 0 => {}
                b'\r' | b'\n' => break,
                byte if len < text.len() => {
                    text[len] = byte;
                    len += 1;
                }
                _ => {}
            }
        }
        text[..len]
            .utf8_chunks()
            .next()
            .map_or("", |chunk| chunk.valid())
    }
}

impl Board for Console {
    const TICK: &'static str = "microseconds";

    fn ticks(&mut self) -> u64 {
        Instant::now().duration_since_epoch().as_micros()
    }

    fn line(&mut self, text: Arguments<'_>) {
        // A UART without a listener loses lines; there is nobody to tell.
        let _lost = writeln!(self.0, "whittle: {text}");
    }
}
