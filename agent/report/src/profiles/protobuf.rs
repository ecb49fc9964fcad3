//! The few parts of protocol buffers that a profile needs: numbers, bytes, messages, packed lists.

/// A message being written. Fields that are 0 or empty are left out, as their default says the same.
#[derive(Debug, Default)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// Appends a number.
    pub(crate) fn number(&mut self, field: u32, value: u64) {
        if value != 0 {
            self.varint(u64::from(field) << 3);
            self.varint(value);
        }
    }

    /// Appends bytes or a text, also where they are empty: in a list, an empty one counts.
    pub(crate) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends a message.
    pub(crate) fn message(&mut self, field: u32, message: &Message) {
        self.bytes(field, &message.bytes);
    }

    /// Appends a list of numbers in one piece.
    pub(crate) fn packed(&mut self, field: u32, values: &[u64]) {
        let mut list = Message::default();
        values.iter().for_each(|value| list.varint(*value));
        self.message(field, &list);
    }

    /// Returns what was written.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_encoding_guide_come_out() {
        // https://protobuf.dev/programming-guides/encoding: 150 in field 1, "testing" in field 2, packed 3, 270, 86942.
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        message.packed(6, &[3, 270, 86942]);
        message.number(9, 0);
        let expected =
            [&[0x08, 0x96, 0x01, 0x12, 0x07][..], b"testing", &[0x32, 6, 3, 0x8e, 2, 0x9e, 0xa7, 5]];
        assert_eq!(message.into_bytes(), expected.concat());
    }
}
