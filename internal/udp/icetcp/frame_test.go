package icetcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func framed(packets ...string) (b []byte) {
	for _, p := range packets {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(p))), p...)
	}
	return b
}

// all reads a stream to its end.
func all(r io.Reader) (packets []string, err error) {
	s := &splitter{from: r}
	for {
		some, err := s.read(nil)
		for _, p := range some {
			packets = append(packets, string(p))
		}
		if err != nil {
			return packets, err
		}
	}
}

func TestSplitter(t *testing.T) {
	long := string(bytes.Repeat([]byte("x"), maxPacket))
	for name, tc := range map[string]struct {
		stream []byte
		want   []string
		err    error
	}{
		"nothing":                  {nil, nil, io.EOF},
		"one":                      {framed("a"), []string{"a"}, io.EOF},
		"several":                  {framed("a", "bc", "def"), []string{"a", "bc", "def"}, io.EOF},
		"empty ones":               {framed("", "a", "", "", "b", ""), []string{"a", "b"}, io.EOF},
		"the longest":              {framed(long, "a", long, long), []string{long, "a", long, long}, io.EOF},
		"too long":                 {framed("a", long+"x", "b"), []string{"a"}, errTooLong},
		"garbage":                  {[]byte("GET / HTTP/1.1\r\n\r\n"), nil, errTooLong},
		"cut in the length":        {append(framed("a"), 0), []string{"a"}, io.EOF},
		"cut in a packet":          {framed("a", "bcd")[:6], []string{"a"}, io.EOF},
		"more than the buffer has": {framed(long, long, long, long, "end"), []string{long, long, long, long, "end"}, io.EOF},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader, "with the error": iotest.DataErrReader,
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				got, err := all(reader(bytes.NewReader(tc.stream)))
				require.ErrorIs(t, err, tc.err)
				require.Equal(t, tc.want, got)
			})
		}
	}
}

func TestSplitterPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	got, err := all(io.MultiReader(bytes.NewReader(framed("a", "b")), iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
	require.Equal(t, []string{"a", "b"}, got)
}

// FuzzSplitter cuts a stream anywhere: what comes out does not depend on that, and is
// what went in as far as it is well formed.
func FuzzSplitter(f *testing.F) {
	f.Add(framed("a", "", "bcd"), byte(1))
	f.Add([]byte{0xff, 0xff, 1}, byte(3))
	f.Add(framed(string(make([]byte, maxPacket)), "x"), byte(200))
	f.Fuzz(func(t *testing.T, stream []byte, size byte) {
		var want []string
		wantErr := io.EOF
		for rest := stream; len(rest) >= headerLen; {
			n := int(rest[0])<<8 | int(rest[1])
			if n > maxPacket {
				wantErr = errTooLong
				break
			}
			if len(rest) < headerLen+n {
				break
			}
			if n > 0 {
				want = append(want, string(rest[headerLen:headerLen+n]))
			}
			rest = rest[headerLen+n:]
		}
		got, err := all(&chunks{bytes.NewReader(stream), int(size) + 1})
		require.ErrorIs(t, err, wantErr)
		require.Equal(t, want, got)
	})
}

// chunks reads so many bytes at once.
type chunks struct {
	from io.Reader
	size int
}

func (c *chunks) Read(b []byte) (int, error) { return c.from.Read(b[:min(c.size, len(b))]) }
