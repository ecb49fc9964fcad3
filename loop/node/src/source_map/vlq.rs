//! Numbers of a source map's segment: base 64, five bits a digit, the lowest bit of the first is the sign.

/// Most numbers that a segment has.
const NUMBERS: usize = 5;
/// A number has at most so many digits: 32 bits and the sign.
const DIGITS: u32 = 7;

fn digit(byte: u8) -> Option<i64> {
    Some(i64::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Returns the numbers, and how many there are; `None` for what is no segment.
pub(super) fn decode(text: &str) -> Option<([i64; NUMBERS], usize)> {
    let (mut numbers, mut count) = ([0i64; NUMBERS], 0);
    let (mut value, mut digits) = (0i64, 0);
    for byte in text.bytes() {
        let digit = digit(byte)?;
        if digits == DIGITS {
            return None;
        }
        value |= (digit & 31) << (5 * digits);
        digits += 1;
        if digit & 32 == 0 {
            let number = value >> 1;
            *numbers.get_mut(count)? = if value & 1 == 0 { number } else { -number };
            (value, digits, count) = (0, 0, count + 1);
        }
    }
    (digits == 0 && count > 0).then_some((numbers, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_signs_and_several_digits() {
        assert_eq!(decode("AAgBC"), Some(([0, 0, 16, 1, 0], 4)));
        assert_eq!(decode("D"), Some(([-1, 0, 0, 0, 0], 1)));
        assert_eq!(decode("2HwcqxB"), Some(([123, 456, 789, 0, 0], 3)));
        for wrong in ["", "g", "A*", "AAAAAA", "gggggggA"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
