//! Decoded sound: interleaved 16-bit samples, whatever the file.
//!
//! Two ways lead to it. [`Direct`] finds any piece by multiplication, because PCM, G.711 and GSM
//! blocks all have one size. Everything else goes from start to end through
//! [`Packets`].
//!
//! # Invariants
//!
//! - One piece is in memory at a time. Only GSM adds to that: about 350 bytes for every ten
//!   seconds already decoded, so that a seek need not begin at the start again.
//! - Buffers that hold sound are wiped when dropped, and never grown in place, because a
//!   reallocation leaves an unwiped copy behind.

use std::io::{self, Read, Seek, SeekFrom};

use zeroize::{Zeroize, Zeroizing};

use super::gsm::Gsm;
use super::packets::Packets;
use super::{Hint, SampleCodec, Samples, Source};

/// Sound as a stream of pieces.
pub(super) trait SampleSource {
    /// Channels, at least one, at most [`CHANNELS_MAX`].
    fn channels(&self) -> u16;

    /// Frames a second, at least one, at most [`RATE_HZ_MAX`].
    fn sample_rate_hz(&self) -> u32;

    /// Replaces `plaintext` by the next whole frames, interleaved; maybe by none, so that the
    /// caller can look up from long stretches without sound. False at the end, which is also
    /// where damaged data stops.
    fn next_piece(&mut self, plaintext: &mut Zeroizing<Vec<i16>>) -> bool;
}

/// The samples of `source`, by whichever way it allows; `None` if we have no decoder.
pub(super) fn open(mut source: Box<dyn Source>, hint: Hint<'_>) -> Option<Box<dyn SampleSource>> {
    match super::samples(&mut source, hint) {
        Some(layout) => Some(Box::new(Direct::new(source, layout)?)),
        None => Some(Box::new(Packets::open(source)?)),
    }
}

/// Samples found by arithmetic: the data is cut into pieces of equally many blocks.
pub(super) struct Direct {
    source: Box<dyn Source>,
    layout: Samples,
    next_piece: u64,
    trail: Option<GsmTrail>,
    stored_plaintext: Zeroizing<Vec<u8>>,
}

impl Direct {
    /// `None` if `layout` contradicts itself or is beyond what anybody records.
    pub(super) fn new(source: Box<dyn Source>, layout: Samples) -> Option<Self> {
        let is_gsm = matches!(layout.codec, SampleCodec::Gsm | SampleCodec::GsmMs);
        let is_sound = (1..=CHANNELS_MAX).contains(&layout.channels)
            && (1..=RATE_HZ_MAX).contains(&layout.sample_rate_hz)
            && layout.codec.block(layout.channels) == (layout.block_bytes, layout.frames_per_block)
            && layout.data_at <= DATA_BYTES_MAX
            && layout.data_bytes <= DATA_BYTES_MAX
            && (!is_gsm || layout.channels == 1);
        let trail = is_gsm.then(GsmTrail::new);
        let stored_plaintext = Zeroizing::default();
        is_sound.then_some(Self { source, layout, next_piece: 0, trail, stored_plaintext })
    }

    /// All frames; a block that is cut off at the end does not count.
    pub(super) fn frames(&self) -> u64 {
        self.blocks() * u64::from(self.layout.frames_per_block)
    }

    pub(super) fn frames_per_piece(&self) -> u64 {
        self.blocks_per_piece() * u64::from(self.layout.frames_per_block)
    }

    /// Replaces `plaintext` by piece `index`, counted from 0; by nothing behind the end.
    ///
    /// Costs one read of about 16 KiB. With GSM a jump forward decodes what lies between, once.
    ///
    /// # Errors
    ///
    /// Those of the source. What `plaintext` holds then means nothing; the same call may be
    /// tried again.
    pub(super) fn read_piece(
        &mut self,
        index: u64,
        plaintext: &mut Zeroizing<Vec<i16>>,
    ) -> io::Result<()> {
        let last = self.blocks().div_ceil(self.blocks_per_piece());
        if index >= last {
            plaintext.clear();
            return Ok(());
        }
        let from = self.trail.as_mut().map_or(index, |trail| trail.go_back_before(index));
        (from..=index).try_for_each(|at| self.decode_piece(at, plaintext))
    }

    fn decode_piece(&mut self, index: u64, plaintext: &mut Zeroizing<Vec<i16>>) -> io::Result<()> {
        let Samples { codec, channels, block_bytes, frames_per_block, data_at, .. } = self.layout;
        let first = index * self.blocks_per_piece();
        let blocks = self.blocks_per_piece().min(self.blocks() - first);
        let count = usize::try_from(blocks).expect("a piece is at most 16 KiB");
        make_room(&mut self.stored_plaintext, count * block_bytes as usize);
        self.stored_plaintext.resize(count * block_bytes as usize, 0);
        self.source.seek(SeekFrom::Start(data_at + first * u64::from(block_bytes)))?;
        self.source.read_exact(&mut self.stored_plaintext)?;
        make_room(plaintext, count * frames_per_block as usize * usize::from(channels));
        match &mut self.trail {
            Some(trail) => trail.decode(codec, &self.stored_plaintext, plaintext),
            None => codec.decode(&self.stored_plaintext, plaintext),
        }
        Ok(())
    }

    fn blocks(&self) -> u64 {
        self.layout.data_bytes / u64::from(self.layout.block_bytes)
    }

    fn blocks_per_piece(&self) -> u64 {
        (PIECE_BYTES / u64::from(self.layout.block_bytes)).max(1)
    }
}

impl SampleSource for Direct {
    fn channels(&self) -> u16 {
        self.layout.channels
    }

    fn sample_rate_hz(&self) -> u32 {
        self.layout.sample_rate_hz
    }

    fn next_piece(&mut self, plaintext: &mut Zeroizing<Vec<i16>>) -> bool {
        let is_read = self.read_piece(self.next_piece, plaintext).is_ok();
        self.next_piece += 1;
        is_read && !plaintext.is_empty()
    }
}

/// A GSM decoder that remembers its way, because a frame depends on all frames before it.
struct GsmTrail {
    gsm: Gsm,
    next_piece: u64,
    /// The decoder as it was before piece 0, 1, 2, …; boxed so that growth leaves no copies.
    #[expect(clippy::vec_box, reason = "a growing `Vec<Gsm>` would leave unwiped copies")]
    marks: Vec<Box<Gsm>>,
}

impl GsmTrail {
    fn new() -> Self {
        Self { gsm: Gsm::new(), next_piece: 0, marks: vec![Box::new(Gsm::new())] }
    }

    /// Puts the decoder before piece `index` or as near before it as it has been, and says where.
    fn go_back_before(&mut self, index: u64) -> u64 {
        let last = self.marks.len() - 1;
        let mark = usize::try_from(index).unwrap_or(last).min(last);
        if self.next_piece > index || self.next_piece < mark as u64 {
            self.gsm.clone_from(&self.marks[mark]);
            self.next_piece = mark as u64;
        }
        self.next_piece
    }

    fn decode(&mut self, codec: SampleCodec, stored: &[u8], plaintext: &mut Vec<i16>) {
        if codec == SampleCodec::GsmMs {
            stored.as_chunks().0.iter().for_each(|b| self.gsm.decode_wav49(b, plaintext));
        } else {
            stored.as_chunks().0.iter().for_each(|b| self.gsm.decode_plain(b, plaintext));
        }
        self.next_piece += 1;
        if self.marks.len() as u64 == self.next_piece && self.marks.len() < MARKS_MAX {
            self.marks.push(Box::new(self.gsm.clone()));
        }
    }
}

/// Empties `buffer` and makes room for `len` elements.
pub(super) fn make_room<T: Zeroize>(buffer: &mut Zeroizing<Vec<T>>, len: usize) {
    buffer.clear();
    if buffer.capacity() < len {
        *buffer = Zeroizing::new(Vec::with_capacity(len));
    }
}

/// Appends to `buffer`. Where a `Vec` would reallocate, this copies and wipes.
pub(super) fn append<T: Zeroize + Copy>(buffer: &mut Zeroizing<Vec<T>>, more: &[T]) {
    let needed = buffer.len() + more.len();
    if buffer.capacity() < needed {
        let mut grown = Zeroizing::new(Vec::with_capacity(needed.max(2 * buffer.capacity())));
        grown.extend_from_slice(buffer);
        *buffer = grown;
    }
    buffer.extend_from_slice(more);
}

/// More channels than any recorder writes.
pub(super) const CHANNELS_MAX: u16 = 32;
/// A higher rate than any recorder writes.
pub(super) const RATE_HZ_MAX: u32 = 768_000;
/// 16 TiB: far from where our arithmetic overflows.
const DATA_BYTES_MAX: u64 = 1 << 44;
/// What is read at once: a second of 16-bit telephony, ten of GSM.
const PIECE_BYTES: u64 = 16 << 10;
/// A week of GSM, 23 MB; beyond that a seek back starts at the last mark.
const MARKS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        /// Any order of visits gives what one pass from the start gives. Planted faults: no going
        /// back when the decoder is already past; a mark taken one piece late.
        #[test]
        fn gsm_pieces_do_not_depend_on_the_order(
            visits in prop::collection::vec(0..4_u64, 1..6),
            is_wav49: bool,
        ) {
            let codec = if is_wav49 { SampleCodec::GsmMs } else { SampleCodec::Gsm };
            let pieces = all_pieces(&mut speech(codec));
            prop_assert_eq!(pieces.len(), 4);
            let mut direct = speech(codec);
            for index in visits {
                let mut plaintext = Zeroizing::default();
                direct.read_piece(index, &mut plaintext)?;
                prop_assert_eq!(&*plaintext, &pieces[index as usize], "piece {}", index);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// No layout panics, whatever a header said, and none reads behind its end.
        #[test]
        fn any_layout_is_refused_or_read(
            codec in codecs(),
            channels: u16,
            sample_rate_hz: u32,
            block_bytes in 0..70_u32,
            data_at in prop_oneof![0..99_u64, any::<u64>()],
            data_bytes in prop_oneof![0..99_u64, any::<u64>()],
            agrees: bool,
        ) {
            let (channels, (block_bytes, frames_per_block)) = if agrees {
                let channels = channels % CHANNELS_MAX + 1;
                (channels, codec.block(channels))
            } else {
                (channels, (block_bytes, 1))
            };
            let layout = Samples {
                codec, channels, sample_rate_hz, block_bytes, frames_per_block, data_at, data_bytes,
            };
            if let Some(mut direct) = Direct::new(Box::new(Cursor::new(vec![0xD7; 99])), layout) {
                let mut plaintext = Zeroizing::default();
                while direct.next_piece(&mut plaintext) {
                    prop_assert_eq!(plaintext.len() % usize::from(channels), 0);
                }
            }
        }
    }

    /// Planted fault: a cut block at the end counted as a whole one.
    #[test]
    fn a_cut_block_is_left_out() {
        let layout = layout(SampleCodec::PcmS16Le, 2, 4 * 10 + 3);
        let direct = Direct::new(Box::new(Cursor::new(vec![1; 43])), layout).unwrap();
        assert_eq!(direct.frames(), 10);
        assert_eq!(all_pieces(&mut { direct }).concat().len(), 20);
    }

    #[test]
    fn appending_keeps_what_was_there() {
        let mut buffer = Zeroizing::default();
        let all: Vec<u8> = (0..=255).collect();
        all.chunks(7).for_each(|chunk| append(&mut buffer, chunk));
        assert_eq!(*buffer, all);
    }

    fn all_pieces(direct: &mut Direct) -> Vec<Vec<i16>> {
        let mut plaintext = Zeroizing::default();
        std::iter::from_fn(|| direct.next_piece(&mut plaintext).then(|| plaintext.to_vec()))
            .collect()
    }

    /// Three pieces and a bit of GSM.
    fn speech(codec: SampleCodec) -> Direct {
        let vector: &[u8] = match codec {
            SampleCodec::GsmMs => include_bytes!("vectors/wav49.gsm"),
            _ => include_bytes!("vectors/plain.gsm"),
        };
        let data = vector.repeat(52_000 / vector.len());
        let layout = layout(codec, 1, data.len() as u64);
        Direct::new(Box::new(Cursor::new(data)), layout).unwrap()
    }

    fn layout(codec: SampleCodec, channels: u16, data_bytes: u64) -> Samples {
        let (block_bytes, frames_per_block) = codec.block(channels);
        let (sample_rate_hz, data_at) = (8_000, 0);
        Samples {
            codec,
            channels,
            sample_rate_hz,
            block_bytes,
            frames_per_block,
            data_at,
            data_bytes,
        }
    }

    fn codecs() -> impl Strategy<Value = SampleCodec> {
        use SampleCodec as C;
        prop::sample::select(vec![
            C::PcmU8,
            C::PcmS16Le,
            C::PcmS16Be,
            C::PcmS24Le,
            C::PcmS32Le,
            C::PcmF32Le,
            C::PcmF64Le,
            C::MuLaw,
            C::ALaw,
            C::Gsm,
            C::GsmMs,
        ])
    }
}
