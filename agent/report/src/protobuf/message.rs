//! A message being written, in which messages are nested.

use crate::protobuf::{push_bytes, push_u64, push_varint};

/// A message being written. Fields that are 0 are left out, as their default says the same.
#[derive(Debug, Default)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Appends a number, in a field below 16.
    pub(crate) fn number(&mut self, field: u8, value: u64) {
        if value != 0 {
            push_u64(&mut self.bytes, field, value);
        }
    }

    /// Appends bytes or a text, also where they are empty: in a list, an empty one counts. The field is below 32.
    pub(crate) fn bytes(&mut self, field: u8, bytes: &[u8]) {
        push_bytes(&mut self.bytes, field, bytes);
    }

    /// Appends a message, in a field below 32.
    pub(crate) fn message(&mut self, field: u8, message: &Message) {
        self.bytes(field, &message.bytes);
    }

    /// Appends a list of numbers in one piece, in a field below 32.
    pub(crate) fn packed(&mut self, field: u8, values: &[u64]) {
        let mut list = Vec::with_capacity(values.len());
        values.iter().for_each(|value| push_varint(&mut list, *value));
        self.bytes(field, &list);
    }

    /// Returns what was written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_encoding_guide_come_out() {
        // https://protobuf.dev/programming-guides/encoding: 150 in field 1, packed 3, 270, 86942 in field 6.
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"");
        message.packed(6, &[3, 270, 86942]);
        message.number(9, 0);
        let packed = [0x32, 6, 3, 0x8e, 2, 0x9e, 0xa7, 5];
        assert_eq!(message.into_bytes(), [&[0x08, 0x96, 0x01, 0x12, 0][..], &packed].concat());
    }
}
