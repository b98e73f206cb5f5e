//! What the pool stands on: the system's threads and words, or loom's, which try every order that the
//! memory model allows.
//!
//! `make test-loom` builds the engine's tests with loom's. Elsewhere these are plain names of `core` and `std`.

#[cfg(not(all(test, loom)))]
mod system {
    pub(in crate::pool) use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
    pub(in crate::pool) use std::sync::{Arc, Mutex, MutexGuard};
    pub(in crate::pool) use std::thread::{Builder, JoinHandle, Thread, current, park, yield_now};

    use core::cell::UnsafeCell;

    /// A place that is written and read by pointer, so that loom can see both.
    #[derive(Debug)]
    pub(in crate::pool) struct Place<T>(UnsafeCell<T>);

    impl<T> Place<T> {
        pub(in crate::pool) const fn new(value: T) -> Self {
            Self(UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(in crate::pool) fn read<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        #[inline(always)]
        pub(in crate::pool) fn write<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }
    }
}

#[cfg(all(test, loom))]
mod model {
    pub(in crate::pool) use core::sync::atomic::Ordering;
    pub(in crate::pool) use loom::sync::{Arc, Mutex, MutexGuard};
    pub(in crate::pool) use loom::thread::{Builder, JoinHandle, Thread, current, park};

    use loom::cell::UnsafeCell;
    use loom::sync::atomic::{self, fence};

    /// loom takes `SeqCst` on loads and stores for `AcqRel`; it has the one order of all in its fences.
    fn fence_if_sequential(ordering: Ordering) {
        if ordering == Ordering::SeqCst {
            fence(Ordering::SeqCst);
        }
    }

    /// An atomic word of loom's with a fence before and after each access that is `SeqCst`.
    macro_rules! word {
        ($name:ident, $value:ty) => {
            #[derive(Debug, Default)]
            pub(in crate::pool) struct $name(atomic::$name);

            #[allow(dead_code, reason = "not every word is swapped or exchanged")]
            impl $name {
                pub(in crate::pool) fn new(value: $value) -> Self {
                    Self(atomic::$name::new(value))
                }

                pub(in crate::pool) fn load(&self, ordering: Ordering) -> $value {
                    fence_if_sequential(ordering);
                    self.0.load(ordering)
                }

                pub(in crate::pool) fn store(&self, value: $value, ordering: Ordering) {
                    self.0.store(value, ordering);
                    fence_if_sequential(ordering);
                }

                pub(in crate::pool) fn swap(&self, value: $value, ordering: Ordering) -> $value {
                    fence_if_sequential(ordering);
                    let old = self.0.swap(value, ordering);
                    fence_if_sequential(ordering);
                    old
                }

                pub(in crate::pool) fn compare_exchange_weak(
                    &self,
                    seen: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    self.0.compare_exchange_weak(seen, new, success, failure)
                }
            }
        };
    }
    word!(AtomicBool, bool);
    word!(AtomicU64, u64);
    word!(AtomicUsize, usize);

    impl AtomicUsize {
        pub(in crate::pool) fn fetch_add(&self, value: usize, ordering: Ordering) -> usize {
            fence_if_sequential(ordering);
            let old = self.0.fetch_add(value, ordering);
            fence_if_sequential(ordering);
            old
        }

        pub(in crate::pool) fn fetch_sub(&self, value: usize, ordering: Ordering) -> usize {
            fence_if_sequential(ordering);
            let old = self.0.fetch_sub(value, ordering);
            fence_if_sequential(ordering);
            old
        }
    }

    /// A place at which loom finds accesses that nothing orders.
    #[derive(Debug)]
    pub(in crate::pool) struct Place<T>(UnsafeCell<T>);

    impl<T> Place<T> {
        pub(in crate::pool) fn new(value: T) -> Self {
            Self(UnsafeCell::new(value))
        }

        pub(in crate::pool) fn read<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            self.0.with(read)
        }

        pub(in crate::pool) fn write<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            self.0.with_mut(write)
        }
    }
}

#[cfg(all(test, loom))]
pub(super) use model::*;
#[cfg(not(all(test, loom)))]
pub(super) use system::*;
