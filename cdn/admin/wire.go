package admin

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"

	"github.com/deltacdn/delta/cdn"
	"github.com/deltacdn/delta/relay"
)

// method is what the API's calls are named on links.
const method = "admin/1"

// maxUnpacked bounds an answer of another node, in bytes of JSON.
const maxUnpacked = 4 << 20

// pack returns an answer as it travels: JSON, compressed, since reports repeat
// themselves. Of a report that is too long, tracks are left out first, and then
// streams.
func pack(t told) ([]byte, error) {
	for {
		plain, err := json.Marshal(t)
		if err != nil {
			return nil, err
		}
		if len(plain) <= maxUnpacked {
			if b := deflate(plain); len(b) <= relay.MaxAnswer {
				return b, nil
			}
		}
		if !t.shrink() {
			return nil, fmt.Errorf("%w: an answer of %d bytes", cdn.ErrOverLimit, len(plain))
		}
	}
}

func deflate(plain []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed) // a level that there is
	_, _ = w.Write(plain)                        // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// shrink makes a report, or a page of sessions, shorter, and reports whether it could.
func (t *told) shrink() bool {
	if t.Report == nil {
		return false
	}
	r := *t.Report
	r.Streams = append([]Stream{}, r.Streams...)
	tracks := 0
	for i := range r.Streams {
		tracks += len(r.Streams[i].Tracks)
		r.Streams[i].Tracks = []Track{}
	}
	if tracks == 0 {
		half := len(r.Streams) / 2
		r.StreamsOmitted += len(r.Streams) - half
		r.Streams = r.Streams[:half]
	}
	shrunk := tracks > 0 || len(t.Report.Streams) > 0
	t.Report = &r
	return shrunk
}

// unpack is the inverse of pack. The other node has proved to be one, but may be
// broken.
func unpack(b []byte) (t told, err error) {
	r := flate.NewReader(bytes.NewReader(b))
	plain, err := io.ReadAll(io.LimitReader(r, maxUnpacked+1))
	if err == nil && len(plain) > maxUnpacked {
		err = fmt.Errorf("more than %d bytes", maxUnpacked)
	}
	if err == nil {
		err = json.Unmarshal(plain, &t)
	}
	if err != nil {
		return told{}, fmt.Errorf("%w: an answer that cannot be read: %w", cdn.ErrPeerLost, err)
	}
	return t, nil
}
