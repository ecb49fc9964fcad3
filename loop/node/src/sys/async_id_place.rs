//! Where Node keeps the id of what JavaScript runs for: a number that its C++ and its JavaScript share in a typed array.
//!
//! Node's function that tells it takes a hundred instructions, and it is asked three times in a request of HTTP. The array is behind a
//! buffer of four words in Node's environment, which begin with what is known: the isolate, how many numbers the array has, and how
//! many bytes of its memory are before them.
//!
//! That it is so is checked by the caller: the number must have been what the function returned, again and again.

use super::sampler;
use super::symbols::{self, Missing, functions};
use super::v8::Isolate;
use libc::c_void;
use loopscope_stacks::Memory;
use std::ptr::NonNull;

functions! {
    /// The environment of this thread.
    Environments {
        of_context = c"_ZN4node21GetCurrentEnvironmentEN2v85LocalINS0_7ContextEEE": fn(*mut c_void) -> *mut c_void;
    }
}

/// Words of an environment that are looked through: the buffer is at the 126th to 142nd of Node 18 to 26.
const WORDS: usize = 256;
/// Numbers of the array: ids of what runs, of what caused it, of the newest resource, and of what causes the next.
const NUMBERS: u64 = 4;

/// Where the id is, of this thread's environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsyncIdPlace {
    id: NonNull<f64>,
}

impl AsyncIdPlace {
    /// Looks for it. Within a call from JavaScript; `None` where it is not where it is taken to be.
    pub(crate) fn find(isolate: &Isolate) -> Option<AsyncIdPlace> {
        let environments = Environments::find().ok()?;
        let context = isolate.context()?;
        // SAFETY: it only reads what Node has written into the context.
        let environment = unsafe { (environments.of_context)(context) };
        let memory = Memory::open().ok()?;
        let words: [u8; 8 * WORDS] = memory.read(environment.addr() as u64)?;
        let (words, _) = words.as_chunks();
        let words: Vec<u64> = words.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let read = |address| memory.read(address).map(u64::from_ne_bytes);
        let address = address_of_id(&words, isolate.raw.addr() as u64, isolate.async_id()?, read)?;
        let id = std::ptr::with_exposed_provenance_mut(usize::try_from(address).ok()?);
        Some(AsyncIdPlace { id: NonNull::new(id)? })
    }

    /// Has captures of this thread say it, too, where the array looks like that of ids.
    pub(crate) fn publish(&self) {
        // SAFETY: as in `read`; the buffer says that it has so many numbers.
        let numbers = unsafe { self.id.cast::<[f64; NUMBERS as usize]>().read_volatile() };
        if !are_ids(numbers) {
            return;
        }
        // SAFETY: the array is there for as long as the environment, with which the thread is listed no more.
        unsafe { sampler::set_id(self.id.as_ptr()) };
    }

    /// Returns the id.
    #[inline]
    pub(crate) fn read(&self) -> u64 {
        // SAFETY: `find` has read it there; Node keeps the array as long as the environment, on whose thread this is called.
        let id = unsafe { self.id.read_volatile() };
        whole(id)
    }
}

/// Returns a number that is whole and not below 0, as all ids are. Another one is not told from it: any number is.
#[cfg(target_arch = "x86_64")]
#[inline]
fn whole(number: f64) -> u64 {
    use std::arch::x86_64::{_mm_cvttsd_si64, _mm_set_sd};
    // The language's own conversion is a dozen instructions, for what is no number, or too large.
    // SAFETY: every x86-64 processor has SSE2.
    let number = unsafe { _mm_set_sd(number) };
    // SAFETY: as above.
    (unsafe { _mm_cvttsd_si64(number) }) as u64
}

/// Returns a number that is whole and not below 0, as all ids are.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn whole(number: f64) -> u64 {
    number as i64 as u64
}

/// Tells whether these may be what runs, what caused it, the newest resource, and what causes the next, or -1.
fn are_ids([id, cause, newest, next]: [f64; NUMBERS as usize]) -> bool {
    let all_whole = [id, cause, newest, next].iter().all(|number| number.fract() == 0.0);
    all_whole
        && newest >= 1.0
        && (0.0..=newest).contains(&id)
        && (0.0..=newest).contains(&cause)
        && next >= -1.0
}

/// Returns where an environment of these words has the id that runs now; `None` where no buffer looks so, or has another number.
fn address_of_id(words: &[u64], isolate: u64, id: u64, read: impl Fn(u64) -> Option<u64>) -> Option<u64> {
    let buffers = words.windows(4).filter(|words| words[..3] == [isolate, NUMBERS, 0] && words[3] % 8 == 0);
    let mut addresses = buffers.map(|words| words[3]);
    addresses.find(|address| *address != 0 && read(*address) == Some((id as f64).to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_behind_the_buffer_that_has_it() {
        let (isolate, other) = (0x7000, 0x9000);
        let read = |address| match address {
            0x100 => Some(3.0_f64.to_bits()),
            0x200 | 0x205 => Some(17.0_f64.to_bits()),
            _ => None,
        };
        let buffer = |address| [isolate, NUMBERS, 0, address];
        let words =
            [&[5, isolate, 9][..], &buffer(0x100), &buffer(0), &buffer(0x300), &buffer(0x200)].concat();
        assert_eq!(address_of_id(&words, isolate, 17, read), Some(0x200));
        assert_eq!(address_of_id(&words, isolate, 3, read), Some(0x100));
        for (id, isolate) in [(18, isolate), (17, other)] {
            assert_eq!(address_of_id(&words, isolate, id, read), None, "id {id} of {isolate:x}");
        }
        // Of other arrays, not at a number's address, and cut off.
        for words in [[isolate, NUMBERS + 1, 0, 0x200], [isolate, NUMBERS, 8, 0x200], buffer(0x205)] {
            assert_eq!(address_of_id(&words, isolate, 17, read), None, "{words:x?}");
        }
        assert_eq!(address_of_id(&buffer(0x200)[..3], isolate, 17, read), None);
    }

    #[test]
    fn an_id_is_the_same_number() {
        for id in [0, 1, 56, 1 << 40, (1 << 53) - 1] {
            assert_eq!(whole(id as f64), id);
        }
    }

    #[test]
    fn ids_are_whole_and_none_is_newer_than_the_newest() {
        assert!(are_ids([0.0, 0.0, 1.0, -1.0]) && are_ids([7.0, 3.0, 9.0, 7.0]));
        for numbers in [
            [0.0, 0.0, 0.0, -1.0],
            [10.0, 3.0, 9.0, -1.0],
            [7.0, 10.0, 9.0, -1.0],
            [7.5, 3.0, 9.0, -1.0],
            [-1.0, 3.0, 9.0, -1.0],
            [7.0, 3.0, 9.0, -2.0],
            [7.0, 3.0, f64::INFINITY, -1.0],
            [f64::NAN; 4],
        ] {
            assert!(!are_ids(numbers), "{numbers:?}");
        }
    }
}
