//! The writer of protocol buffers: the few parts of the wire format that metrics and profiles need.
//!
//! There are functions that append one field, for the page of metrics, which is encoded at every scrape, and a
//! [`Message`] on top of them, for profiles.

#[cfg(feature = "profiles")]
mod message;

#[cfg(feature = "profiles")]
pub(crate) use message::Message;

/// Appends a number, seven bits a byte. Byte by byte: gathering them first took twice as long.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns how many bytes [`push_varint`] appends.
pub(crate) fn varint_len(value: u64) -> usize {
    ((70 - (value | 1).leading_zeros()) / 7) as usize
}

/// Returns a signed number so that small ones are few bytes: 0, -1, 1, -2, ...
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Appends the number in a field below 16.
pub(crate) fn push_u64(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    push_varint(out, value);
}

/// Appends the number in a field below 16.
pub(crate) fn push_f64(out: &mut Vec<u8>, field: u8, value: f64) {
    let mut bytes = [field << 3 | 1; 9];
    bytes[1..].copy_from_slice(&value.to_le_bytes());
    out.extend_from_slice(&bytes);
}

/// Appends the bytes, the text or the message in a field below 32.
pub(crate) fn push_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    begin_bytes(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends the beginning of a field below 32 whose `len` bytes follow.
pub(crate) fn begin_bytes(out: &mut Vec<u8>, field: u8, len: usize) {
    push_varint(out, u64::from(field) << 3 | 2);
    push_varint(out, len as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_encoding_guide_come_out() {
        // https://protobuf.dev/programming-guides/encoding: 150 in field 1, "testing" in field 2.
        let mut out = Vec::new();
        push_u64(&mut out, 1, 150);
        push_bytes(&mut out, 2, b"testing");
        assert_eq!(out, [&[0x08, 0x96, 0x01, 0x12, 0x07][..], b"testing"].concat());
        let signed: Vec<u64> = [0, -1, 1, -2, i64::MAX, i64::MIN].into_iter().map(zigzag).collect();
        assert_eq!(signed, [0, 1, 2, 3, u64::MAX - 1, u64::MAX]);
    }

    #[test]
    fn lengths_are_those_written() {
        for bits in 0..64 {
            for value in [(1u64 << bits) - 1, 1 << bits, u64::MAX >> bits] {
                let mut out = Vec::new();
                push_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
            }
        }
    }
}
