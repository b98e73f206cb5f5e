//! The serial console: UART 0 on the pins where the chip's ROM has it, 115,200 baud, and the chip's own USB. Boards have
//! one or the other on their socket, so both are spoken on and listened to.

use crate::chip::{self, uart::Rx, uart::Tx};
use crate::model_flash::ModelFlash;
use crate::stack;
use app::{Board, Stack, Store};
use esp_hal::Blocking;
use esp_hal::peripherals::{UART0, USB_DEVICE};
use esp_hal::time::{Duration, Instant};
use esp_hal::uart::{Config, Uart};
use esp_hal::usb::usb_serial_jtag::UsbSerialJtag;

/// How long USB may take to fetch what was written before nobody is said to listen there: a host polls each millisecond.
const USB_PATIENCE: Duration = Duration::from_millis(20);

/// UART 0 and USB Serial/JTAG.
pub struct Console {
    uart: Uart<'static, Blocking>,
    usb: UsbSerialJtag<'static, Blocking>,
    /// Whether a host fetches what is written to USB. Without one each write would wait for good.
    is_usb_heard: bool,
    /// Where a model is stored, where one can be.
    pub model: Option<ModelFlash>,
}

impl Console {
    pub fn new(
        uart: UART0<'static>,
        tx: Tx<'static>,
        rx: Rx<'static>,
        usb: USB_DEVICE<'static>,
    ) -> Self {
        let uart = Uart::new(uart, Config::default()).expect("the default settings are in range");
        Self {
            uart: uart.with_tx(tx).with_rx(rx),
            usb: UsbSerialJtag::new(usb),
            is_usb_heard: true,
            model: None,
        }
    }

    /// The console as a panic takes it, whoever holds it.
    pub fn stolen() -> Option<Self> {
        // SAFETY: called when nothing else runs any more.
        let (uart, tx, usb) = unsafe { (UART0::steal(), Tx::steal(), USB_DEVICE::steal()) };
        let uart = Uart::new(uart, Config::default()).ok()?;
        Some(Self {
            uart: uart.with_tx(tx),
            usb: UsbSerialJtag::new(usb),
            is_usb_heard: true,
            model: None,
        })
    }

    fn write_usb(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let start = Instant::now();
            while self.is_usb_heard && self.usb.write_byte_nb(*byte).is_err() {
                self.is_usb_heard = start.elapsed() < USB_PATIENCE;
            }
        }
        // What waits now is fetched with the host's next poll.
        let _under_way = self.usb.flush_tx_nb();
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
        self.write_usb(bytes);
    }

    fn read(&mut self) -> Option<u8> {
        let mut byte = [0];
        // A byte that came damaged is one that did not come.
        if let Ok(1) = self.uart.read_buffered(&mut byte) {
            return Some(byte[0]);
        }
        let byte = self.usb.read_byte().ok()?;
        self.is_usb_heard = true;
        Some(byte)
    }

    fn chip_revision(&mut self) -> u16 {
        let revision = esp_hal::efuse::chip_revision();
        u16::from(revision.major) * 100 + u16::from(revision.minor)
    }

    fn store(&mut self) -> Option<&mut dyn Store> {
        self.model.as_mut().map(|model| model as &mut dyn Store)
    }

    fn restart(&mut self) {
        // What was said last goes out first.
        let _sent = self.uart.flush();
        let start = Instant::now();
        while self.is_usb_heard && self.usb.flush_tx_nb().is_err() {
            self.is_usb_heard = start.elapsed() < USB_PATIENCE;
        }
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
