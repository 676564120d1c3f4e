package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/deltacdn/delta/cdn"
)

// An ivf writes the container format IVF: a header of 32 bytes, and 12 ahead of each
// frame.
type ivf struct {
	out    io.WriteSeeker
	fourCC string
	rate   uint32 // timestamp units a second
	frames uint32
}

func newIVF(out io.WriteSeeker, c cdn.Codec) (file, error) {
	name := strings.ToUpper(strings.TrimPrefix(strings.ToLower(c.MimeType), "video/"))
	fourCC := map[string]string{"VP8": "VP80", "VP9": "VP90", "AV1": "AV01"}[name]
	if fourCC == "" {
		return nil, fmt.Errorf("no IVF file of %s", c.MimeType)
	}
	f := &ivf{out: out, fourCC: fourCC, rate: c.ClockRate}
	return f, f.header()
}

// header writes the file's header. Players take the size from the first keyframe.
func (f *ivf) header() error {
	h := append(make([]byte, 0, 32), "DKIF\x00\x00\x20\x00"+f.fourCC...)
	h = append(h, make([]byte, 4)...) // the size
	h = binary.LittleEndian.AppendUint32(h, f.rate)
	h = binary.LittleEndian.AppendUint32(h, 1)
	h = append(h, make([]byte, 8)...) // the number of frames, and nothing
	_, err := f.out.Write(h)
	return err
}

func (f *ivf) write(at time.Duration, frame []byte) error {
	f.frames++
	h := binary.LittleEndian.AppendUint32(make([]byte, 0, 12), uint32(len(frame)))
	h = binary.LittleEndian.AppendUint64(h, uint64(math.Round(at.Seconds()*float64(f.rate))))
	if _, err := f.out.Write(h); err != nil {
		return err
	}
	_, err := f.out.Write(frame)
	return err
}

// Close writes how many frames there are.
func (f *ivf) Close() error {
	_, err := f.out.Seek(24, io.SeekStart)
	return errors.Join(err, binary.Write(f.out, binary.LittleEndian, f.frames))
}
