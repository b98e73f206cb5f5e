//! Signals that would end the process in the middle of its work, as errors that it can say.
//!
//! **A mapped file that is cut short.** To read what is no longer there raises SIGBUS, which ends a process
//! by default. [`watch`] names the memory of a map; a fault inside of it puts zeros over the rest of the map
//! and is noted ([`Watch::is_lost`], [`any_lost`]), so that the work goes on to its next step, stops there
//! as any work that fails, and leaves nothing behind. What came of it is dropped: see `source_file`. Any
//! other SIGBUS goes where it went before.
//!
//! **A limit on the length of files.** SIGXFSZ ends a process that writes beyond it; ignored it is the error
//! of that write.
//!
//! Where there are no such signals all of this does nothing: Windows lets nobody shorten a mapped file.

pub use system::{Watch, any_lost, own, prepare, watch};

#[cfg(unix)]
#[expect(
    unsafe_code,
    reason = "a signal handler, and the memory that it puts in place; see SAFETY at each block"
)]
mod system {
    use libc::{c_int, c_void, siginfo_t};
    use std::io;
    use std::mem::{MaybeUninit, zeroed};
    use std::ops::Range;
    use std::ptr::{null_mut, without_provenance_mut};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// Maps that are watched at a time: a model has one a file, and few have more than thirty.
    const MOST: usize = 256;

    /// The memory of one map; what a handler may read of it: atomics in a place that never goes away.
    struct Slot {
        start: AtomicUsize,
        /// Behind its last byte; 0 where nothing is watched.
        end: AtomicUsize,
        is_lost: AtomicBool,
    }

    static SLOTS: [Slot; MOST] = [const {
        Slot {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            is_lost: AtomicBool::new(false),
        }
    }; MOST];
    /// Which slots are taken.
    static TAKEN: Mutex<[bool; MOST]> = Mutex::new([false; MOST]);
    static ANY_LOST: AtomicBool = AtomicBool::new(false);
    /// Bytes of a page, and what SIGBUS did before.
    static BEFORE: OnceLock<(usize, libc::sigaction)> = OnceLock::new();

    /// A map that is watched until [`Watch::end`], which must be before it is unmapped.
    #[derive(Debug)]
    pub struct Watch(usize);

    /// Watches the bytes of a map; nothing where so many are watched that there is no place left.
    #[must_use]
    pub fn watch(bytes: &[u8]) -> Option<Watch> {
        prepare();
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let free = taken.iter().position(|taken| !taken)?;
        taken[free] = true;
        let (start, slot) = (bytes.as_ptr().addr(), &SLOTS[free]);
        slot.is_lost.store(false, Ordering::Relaxed);
        slot.start.store(start, Ordering::Relaxed);
        slot.end.store(start + bytes.len(), Ordering::Release);
        Some(Watch(free))
    }

    /// Whether a file of any map was cut short: work may stop, for its result will be refused.
    #[must_use]
    pub fn any_lost() -> bool {
        ANY_LOST.load(Ordering::Relaxed)
    }

    impl Watch {
        /// Watches no longer, and remembers whether a part was lost.
        pub fn end(&self) {
            SLOTS[self.0].end.store(0, Ordering::Release);
        }

        /// Whether a part of the map could not be read.
        #[must_use]
        pub fn is_lost(&self) -> bool {
            SLOTS[self.0].is_lost.load(Ordering::Relaxed)
        }
    }

    impl Drop for Watch {
        fn drop(&mut self) {
            self.end();
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            taken[self.0] = false;
            let lost = taken.iter().zip(&SLOTS);
            let mut lost =
                lost.filter(|(taken, slot)| **taken && slot.is_lost.load(Ordering::Relaxed));
            ANY_LOST.store(lost.next().is_some(), Ordering::Relaxed);
        }
    }

    /// Puts memory of our own under these bytes of a map, out to whole pages, with what stands there: to write to a private map would not do, for pages behind a file's new end go away however they came
    /// about.
    ///
    /// # Errors
    /// When the system has no memory.
    pub fn own(map: &mut [u8], bytes: Range<usize>) -> io::Result<()> {
        let (page, _) = taken_over();
        let end = bytes.end.next_multiple_of(*page).min(map.len());
        let pages = &mut map[bytes.start / page * page..end];
        if pages.is_empty() {
            return Ok(());
        }
        let copy = pages.to_vec();
        // SAFETY: the pages are the map's, which is borrowed as a whole: nobody reads them until they have
        // their contents again.
        let zeros = unsafe { zeros_at(pages.as_mut_ptr().cast(), pages.len()) };
        if zeros == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        pages.copy_from_slice(&copy);
        Ok(())
    }

    /// Replaces pages by such of zeros.
    ///
    /// # Safety
    /// They are mapped, and nobody counts on their contents.
    unsafe fn zeros_at(start: *mut c_void, bytes: usize) -> *mut c_void {
        let (readable, fixed) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_FIXED,
        );
        // SAFETY: the caller's.
        unsafe { libc::mmap(start, bytes, readable, fixed, -1, 0) }
    }

    /// Takes the signals over; the first call does it.
    pub fn prepare() {
        taken_over();
    }

    /// The bytes of a page, and what SIGBUS did before.
    fn taken_over() -> &'static (usize, libc::sigaction) {
        BEFORE.get_or_init(|| {
            // SAFETY: asks for a number.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let page = usize::try_from(page).unwrap_or(4096);
            // SAFETY: the disposition is a constant of the system's and no handler runs.
            unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
            let mut before = MaybeUninit::<libc::sigaction>::uninit();
            // SAFETY: a `sigaction` of zeros is a valid one; the handler has the signature that SA_SIGINFO
            // asks for; both pointers are to places of the right type that live through the call.
            let before = unsafe {
                let mut action: libc::sigaction = zeroed();
                action.sa_sigaction = on_bus_error as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                libc::sigaction(libc::SIGBUS, null_mut(), before.as_mut_ptr());
                libc::sigaction(libc::SIGBUS, &raw const action, null_mut());
                before.assume_init()
            };
            (page, before)
        })
    }

    /// Runs in the thread that read, which waits in the middle of that instruction: only atomics are read and
    /// written, and only system calls made.
    extern "C" fn on_bus_error(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
        let Some((page, before)) = BEFORE.get() else {
            return;
        };
        // SAFETY: with SA_SIGINFO the system hands over a valid `siginfo_t`, for SIGBUS with an address.
        let address = unsafe { (*info).si_addr() }.addr();
        let slot = SLOTS.iter().find(|slot| {
            let end = slot.end.load(Ordering::Acquire);
            (slot.start.load(Ordering::Relaxed)..end).contains(&address)
        });
        if let Some(slot) = slot {
            let start = address / page * page;
            let bytes = slot.end.load(Ordering::Relaxed) - start;
            // SAFETY: these pages belong to a map that is being read, which nobody unmaps while they are, and
            // are replaced by others of the same length that can be read; nothing else lies in them.
            let zeros = unsafe { zeros_at(without_provenance_mut(start), bytes) };
            if zeros != libc::MAP_FAILED {
                slot.is_lost.store(true, Ordering::Relaxed);
                ANY_LOST.store(true, Ordering::Relaxed);
                return;
            }
        }
        // SAFETY: gives the signal back to whom it was; the instruction is run again and raises it there.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const *before, null_mut()) };
    }
}

#[cfg(not(unix))]
mod system {
    /// A map that is watched.
    #[derive(Debug)]
    pub struct Watch;

    /// Watches the bytes of a map.
    #[must_use]
    pub fn watch(_bytes: &[u8]) -> Option<Watch> {
        Some(Watch)
    }

    /// Whether a file of any map was cut short.
    #[must_use]
    pub fn any_lost() -> bool {
        false
    }

    /// Takes the signals over.
    pub fn prepare() {}

    /// Makes these bytes of a map our own: a page of a private map is copied when it is written to.
    ///
    /// # Errors
    /// None.
    pub fn own(map: &mut [u8], bytes: std::ops::Range<usize>) -> std::io::Result<()> {
        for at in (bytes.start / 4096 * 4096..bytes.end.min(map.len())).step_by(4096) {
            map[at] = std::hint::black_box(map[at]);
        }
        Ok(())
    }

    impl Watch {
        /// Watches no longer.
        pub fn end(&self) {}

        /// Whether a part of the map could not be read.
        #[must_use]
        pub fn is_lost(&self) -> bool {
            false
        }
    }
}
