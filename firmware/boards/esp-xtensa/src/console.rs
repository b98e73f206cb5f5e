//! The serial console: UART 0 on the pins where the chip's ROM has it, 115,200 baud, and USB where the chip has its own.

use crate::chip::{self, Usb, Wires, uart::Tx};
use crate::stack;
use app::{Board, Stack};
use esp_hal::Blocking;
use esp_hal::peripherals::UART0;
use esp_hal::time::Instant;
use esp_hal::uart::{Config, Uart};

/// UART 0, and USB.
pub struct Console {
    uart: Uart<'static, Blocking>,
    usb: Usb,
}

impl Console {
    pub fn new(wires: Wires) -> Self {
        let uart = Uart::new(wires.uart, Config::default());
        let uart = uart.expect("the default settings are in range");
        Self {
            uart: uart.with_tx(wires.tx).with_rx(wires.rx),
            usb: wires.usb,
        }
    }

    /// The console as a panic takes it, whoever holds it.
    pub fn stolen() -> Option<Self> {
        // SAFETY: called when nothing else runs any more.
        let (uart, tx, usb) = unsafe { (UART0::steal(), Tx::steal(), Usb::stolen()) };
        let uart = Uart::new(uart, Config::default()).ok()?;
        Some(Self {
            uart: uart.with_tx(tx),
            usb,
        })
    }
}

impl Board for Console {
    const NAME: &'static str = chip::NAME;
    const TICK: &'static str = "microseconds";
    const TICKS_PER_SECOND: u32 = 1_000_000;

    fn ticks(&mut self) -> u64 {
        Instant::now().duration_since_epoch().as_micros()
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        // A UART takes bytes whether anyone listens or not.
        while let Ok(written @ 1..) = self.uart.write(rest) {
            rest = &rest[written..];
        }
        self.usb.write(bytes);
    }

    fn read(&mut self) -> Option<u8> {
        let mut byte = [0];
        // A byte that came damaged is one that did not come.
        if let Ok(1) = self.uart.read_buffered(&mut byte) {
            return Some(byte[0]);
        }
        self.usb.read()
    }

    fn chip_revision(&mut self) -> u16 {
        chip::revision()
    }

    fn restart(&mut self) {
        esp_hal::system::software_reset()
    }

    fn clock_hz(&self) -> u32 {
        esp_hal::clock::cpu_clock().as_hz()
    }

    fn stack(&mut self) -> Option<Stack> {
        let (bytes, used_bytes) = stack::stack();
        Some(Stack {
            bytes: bytes as u32,
            used_bytes: used_bytes as u32,
        })
    }
}
