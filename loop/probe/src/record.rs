//! One entry of the recorder: what ran, when it was ready, when it began, when it ended.
//!
//! ```text
//!   63      62       61     60..48  47    40 39   32 31            16 15        0
//!  +-------+--------+------+-------+--------+-------+----------------+-----------+
//!  |running| spans  | many | 0     | phase  | kind  | parent site    | site      |   word 0
//!  +-------+--------+------+-------+--------+-------+----------------+-----------+
//!   words 1 to 3: ready (of many: their number), start, end in ticks
//! ```

use crate::clock::Ticks;
use crate::kind::Kind;
use crate::limits::count;
use crate::phase::Phase;
use crate::ring::EntryWords;
use crate::site::SiteId;

/// Set while a frame runs, so that no running frame is 0.
pub(crate) const RUNNING: u64 = 1 << 63;

/// Set where spans were entered inside: the path's own times are booked already, span by span.
pub(crate) const SPANS: u64 = 1 << 62;

/// Set where the entry stands for many: a batch, or a drain as a whole.
pub(crate) const MANY: u64 = 1 << 61;

/// One entry of the recorder, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Number since the page was made.
    pub number: u64,
    /// What ran.
    pub kind: Kind,
    /// Where it was registered.
    pub site: SiteId,
    /// For a drained job, the site of the callback after which it was drained; else [`SiteId::NONE`].
    pub parent: SiteId,
    /// In which phase.
    pub phase: Phase,
    /// For many told as one, a batch or a drain as a whole: how many, 0 where not known. `None` for a single one.
    pub many: Option<u64>,
    /// When it was ready; [`Ticks::NONE`] where not known.
    pub ready: Ticks,
    /// When it began.
    pub start: Ticks,
    /// When it ended.
    pub end: Ticks,
}

/// The part of word 0 that stays the same within a phase, or within a drain after the callback at `parent`.
#[inline(always)]
pub(crate) fn frame_base(phase: Phase, parent: SiteId) -> u64 {
    RUNNING | (phase.index() as u64) << 40 | u64::from(parent.0) << 16
}

/// Word 0 of a callback or job.
#[inline(always)]
pub(crate) fn frame(base: u64, kind: Kind, site: SiteId) -> u64 {
    base | (kind as u64) << 32 | u64::from(site.0)
}

/// The site in word 0.
#[inline(always)]
pub(crate) fn frame_site(frame: u64) -> SiteId {
    SiteId(frame as u16)
}

/// The parent site in word 0.
#[inline(always)]
pub(crate) fn frame_parent(frame: u64) -> SiteId {
    SiteId((frame >> 16) as u16)
}

/// The kind's number in word 0.
#[inline(always)]
pub(crate) fn frame_kind(frame: u64) -> usize {
    (frame >> 32) as usize & 0xff
}

/// The phase in word 0.
#[inline(always)]
pub(crate) fn frame_phase(frame: u64) -> Phase {
    Phase::of_bits(frame >> 40)
}

impl Record {
    /// Decodes an entry; `None` for one that no writer of this version makes.
    pub(crate) fn decode(number: u64, [frame, ready, start, end]: EntryWords) -> Option<Record> {
        Some(Record {
            number,
            kind: Kind::from_index(frame_kind(frame))?,
            site: frame_site(frame),
            parent: frame_parent(frame),
            phase: frame_phase(frame),
            many: (frame & MANY != 0).then(|| count(ready)),
            ready: if frame & MANY == 0 { Ticks(ready) } else { Ticks::NONE },
            start: Ticks(start),
            end: Ticks(end),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let base = frame_base(Phase::CHECK, SiteId(300));
        let record = Record::decode(9, [frame(base, Kind::Tick, SiteId(17)) | SPANS, 1, 2, 3]).unwrap();
        let (ready, start, end) = (Ticks(1), Ticks(2), Ticks(3));
        let (kind, site, parent, phase) = (Kind::Tick, SiteId(17), SiteId(300), Phase::CHECK);
        let single = Record { number: 9, kind, site, parent, phase, many: None, ready, start, end };
        assert_eq!(record, single);
        let record = Record::decode(9, [frame(base, Kind::Tick, SiteId(17)) | MANY, 40, 2, 3]).unwrap();
        assert_eq!(record, Record { many: Some(40), ready: Ticks::NONE, ..single });
        assert_eq!(Record::decode(0, [0xff << 32, 0, 0, 0]), None);
    }
}
