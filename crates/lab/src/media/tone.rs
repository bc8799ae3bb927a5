//! Tones in G.711 µ-law at 8 kHz, and recognising them.

use std::f64::consts::TAU;

const RATE_HZ: f64 = 8_000.0;
/// About 12 dB below full scale.
const AMPLITUDE: f64 = 8_000.0;

/// µ-law samples of a tone, or of silence for 0 Hz. A whole number of seconds can be repeated without a click.
pub(crate) fn samples(hz: u32, length_ms: u32) -> Vec<u8> {
    let step = TAU * f64::from(hz) / RATE_HZ;
    #[expect(clippy::cast_possible_truncation, reason = "the amplitude is far inside i16")]
    let sample = |nth: u32| encode((AMPLITUDE * (step * f64::from(nth)).sin()) as i16);
    (0..length_ms.saturating_mul(8)).map(sample).collect()
}

/// True if these samples are not silent and more than half of their energy is at `hz` (Goertzel's algorithm).
pub(crate) fn is_heard(samples: &[u8], hz: u32) -> bool {
    let coefficient = 2.0 * (TAU * f64::from(hz) / RATE_HZ).cos();
    let (mut last, mut before, mut energy, mut count) = (0.0, 0.0, 0.0, 0.0);
    for sample in samples {
        let value = f64::from(decode(*sample));
        energy += value * value;
        count += 1.0;
        (last, before) = (value + coefficient * last - before, last);
    }
    let at_hz = last * last + before * before - coefficient * last * before;
    // A pure tone gives energy × count ÷ 2. The floor is about 40 dB below our own tones.
    energy > count * 5_000.0 && at_hz > energy * count / 4.0
}

/// G.711 µ-law, by its definition.
fn encode(sample: i16) -> u8 {
    const BIAS: i32 = 0x84;
    const CLIP: i32 = 32_635;
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = i32::from(sample).abs().min(CLIP) + BIAS;
    let exponent = (magnitude.ilog2()).saturating_sub(7);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let byte = sign | i32::try_from(exponent << 4).unwrap_or(0) | mantissa;
    !u8::try_from(byte).unwrap_or(0)
}

fn decode(byte: u8) -> i32 {
    let byte = !byte;
    let exponent = u32::from((byte >> 4) & 7);
    let magnitude = (((i32::from(byte & 0x0f) << 3) + 0x84) << exponent) - 0x84;
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, is_heard, samples};

    #[test]
    fn mu_law_survives_a_round_trip_within_its_step() {
        for sample in (-32_000i16..32_000).step_by(37) {
            let back = decode(encode(sample));
            let error = (back - i32::from(sample)).abs();
            assert!(
                error <= i32::from(sample).abs() / 16 + 8,
                "{sample} came back as {back}"
            );
        }
    }

    #[test]
    fn a_tone_is_heard_at_its_own_pitch_only() {
        for hz in [330, 440, 520, 580, 660, 880, 1_000] {
            for listened in [440, 660, 880] {
                let packet = &samples(hz, 1_000)[320..480];
                assert_eq!(
                    is_heard(packet, listened),
                    hz == listened,
                    "{hz} Hz, listening for {listened} Hz"
                );
            }
        }
        assert!(!is_heard(&samples(0, 20), 440), "silence is no tone");
        assert!(!is_heard(&[], 440), "nothing is no tone");
    }
}
