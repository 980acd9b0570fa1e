#!/bin/sh
# Makes every fixture from nothing, byte for byte the same on every run with the same tools
# (Debian 12: ffmpeg 5.1, sox 14.4.2, espeak-ng 1.51). Only for whoever adds one: the files are
# kept, so that the tests need none of these. Afterwards run `sha256sum -c SHA256SUMS` and look
# at what changed.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Without -D -R sox adds random dither; without the bitexact flags, which must stand on the output
# side, ffmpeg writes its version, dates and random stream ids.
sox_same() { sox -V1 -D -R "$@"; }
ff() { ffmpeg -nostdin -loglevel error -y "$@"; }
EXACT="-map_metadata -1 -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -threads 1"

# One and a half seconds of a synthetic voice, and of two voices on two channels.
espeak-ng -v en -s 160 -w "$work/voice.wav" "This call is being recorded"
espeak-ng -v en+f3 -s 160 -w "$work/reply.wav" "I know, thank you very much"
for part in voice reply; do
    sox_same "$work/$part.wav" -r 8000 -c 1 -b 16 "$work/$part-8k.wav" pad 0 1 trim 0 1.5
done
mono="$work/voice-8k.wav"
sox_same -M "$mono" "$work/reply-8k.wav" "$work/stereo.wav"
stereo="$work/stereo.wav"
sox_same "$mono" -r 48000 "$work/48k.wav"
sox_same "$stereo" -r 44100 "$work/44k.wav"

# The WAV family.
sox_same "$mono" pcm_s16.wav
sox_same "$stereo" pcm_s16_stereo.wav
sox_same "$mono" -b 8 pcm_u8.wav
sox_same "$mono" -b 24 pcm_s24.wav
sox_same "$mono" -b 32 pcm_s32.wav
sox_same "$mono" -e floating-point -b 32 pcm_f32.wav
sox_same "$mono" -B pcm_rifx.wav
sox_same "$mono" -e mu-law mulaw.wav
sox_same "$stereo" -e mu-law mulaw_stereo.wav
sox_same "$mono" -e a-law alaw.wav
sox_same "$mono" -e ima-adpcm ima_adpcm.wav
sox_same "$mono" -e ms-adpcm ms_adpcm.wav
sox_same "$mono" -e gsm-full-rate gsm610.wav
ff -i "$work/voice-8k.wav" -ar 16000 -c:a g722 $EXACT g722.wav
ff -i "$mono" -c:a g726 -b:a 32k $EXACT g726.wav
ff -i "$mono" -c:a libmp3lame -b:a 16k $EXACT mp3_in.wav
ff -i "$mono" -c:a pcm_s16le -rf64 always -f wav $EXACT pcm.rf64
ff -i "$mono" -c:a pcm_s16le -f w64 $EXACT pcm.w64
ff -i "$mono" -c:a pcm_s16le -f wav $EXACT - | cat > streamed.wav

# Its relatives and raw speech.
sox_same "$mono" pcm.aiff
ff -i "$mono" -c:a pcm_mulaw -f aiff $EXACT mulaw.aifc
ff -i "$mono" -c:a pcm_s16le $EXACT pcm.caf
ff -i "$mono" -c:a alac $EXACT alac.caf
sox_same "$mono" -e mu-law mulaw.au
sox_same "$mono" raw.gsm
sox_same "$mono" -t ul raw.ulaw
sox_same "$mono" -t al raw.alaw
sox_same "$mono" -t raw raw.sln
sox_same "$mono" -r 16000 -t raw raw.sln16
ff -i "$mono" -ar 16000 -c:a g722 -f g722 $EXACT raw.g722

# Compressed sound.
ff -i "$mono" -c:a libmp3lame -b:a 16k $EXACT cbr.mp3
ff -i "$work/44k.wav" -c:a libmp3lame -q:a 6 $EXACT vbr_stereo.mp3
ff -i "$mono" -c:a libmp3lame -b:a 16k -write_xing 0 -id3v2_version 0 $EXACT no_index.mp3
ff -i "$mono" -c:a libmp3lame -b:a 16k -write_id3v1 1 -metadata title=call -fflags +bitexact -flags:a +bitexact tagged.mp3
ff -i "$mono" -c:a aac -b:a 16k $EXACT adts.aac
ff -i "$mono" -c:a aac -b:a 16k $EXACT aac.m4a
ff -i "$mono" -c:a alac $EXACT alac.m4a
ff -i "$mono" -c:a libvorbis -b:a 24k $EXACT vorbis.ogg
ff -i "$mono" -c:a libopus -b:a 12k -application voip $EXACT opus.ogg
ff -i "$stereo" -c:a libopus -b:a 16k -application voip $EXACT opus_stereo.opus
ff -i "$mono" -c:a libspeex $EXACT speex.ogg
ff -i "$mono" -c:a flac $EXACT flac.ogg
ff -i "$mono" -c:a flac $EXACT mono.flac
ff -i "$work/44k.wav" -c:a flac $EXACT stereo.flac

# Screen recordings, postage-stamp size.
video() { ff -f lavfi -i "testsrc=size=64x48:rate=10:duration=1.5" -i "$mono" "$@"; }
video -c:v libx264 -c:a aac -b:a 16k $EXACT h264_aac.mp4
video -c:v libx264 -c:a aac -b:a 16k -movflags +faststart $EXACT faststart.mp4
video -c:v libx264 -g 5 -c:a aac -b:a 16k -movflags frag_keyframe+empty_moov+default_base_moof $EXACT fragmented.mp4
video -c:v libx264 -g 5 -c:a aac -b:a 16k -movflags frag_keyframe $EXACT fragmented_late.mp4
video -c:v libx264 -c:a libopus -b:a 12k $EXACT h264_opus.mp4
video -c:v libx264 -c:a pcm_s16le $EXACT h264_pcm.mov
video -c:v libx264 -an $EXACT silent.mp4
ff -i "$mono" -c:a aac -b:a 16k -f 3gp $EXACT aac.3gp
video -c:v libx264 -c:a aac -b:a 16k $EXACT h264_aac.mkv
video -c:v libx264 -c:a libopus -b:a 12k $EXACT h264_opus.mkv
video -c:v libx264 -c:a pcm_mulaw $EXACT h264_mulaw.mkv
video -c:v libvpx -b:v 50k -c:a libvorbis $EXACT vp8_vorbis.webm
video -c:v libvpx-vp9 -b:v 50k -c:a libopus -b:a 12k $EXACT vp9_opus.webm
ff -i "$mono" -c:a libopus -b:a 12k $EXACT opus.webm
video -c:v libvpx -b:v 50k -c:a libopus -b:a 12k -live 1 -f webm $EXACT - | cat > live.webm
video -c:v libx264 -c:a aac -b:a 16k -ar 11025 $EXACT h264_aac.flv
video -c:v flv1 -c:a libmp3lame -ar 11025 -b:a 16k $EXACT flv1_mp3.flv
video -c:v mpeg4 -c:a pcm_s16le $EXACT mpeg4_pcm.avi
video -c:v mjpeg -c:a libmp3lame -b:a 16k $EXACT mjpeg_mp3.avi
video -c:v libx264 -g 5 -c:a aac -b:a 16k -f mpegts $EXACT h264_aac.ts

sha256sum -- *.* | grep -v -e make.sh -e manifest.toml > SHA256SUMS
