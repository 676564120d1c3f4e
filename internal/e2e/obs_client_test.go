package delta_test

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/cdn/cdntest"
	"github.com/deltacdn/delta/internal/endpoint/dtlssrtp"
	"github.com/deltacdn/delta/internal/udp/pionnet"
)

// An obs plays the part of OBS 32.1 with libdatachannel, as its plugins/obs-webrtc uses it,
// as far as a server can see:
//
//   - One POST has all candidates. There is no OPTIONS and no PATCH.
//   - What all m-sections have in common stands at session level.
//   - Each packet of video has its mid and, of simulcast, its rid. Parameter sets travel in
//     packets of their own. There is no RTX.
//   - What is asked for again is sent for the sound and for the first layer, which is the
//     highest (obs-studio issue 13161). Requests for keyframes are passed over.
//   - A Location that is no URL is taken for a path at the endpoint's host.
//   - At the end DTLS is closed first, and then a DELETE goes to that path.
type obs struct {
	t        *testing.T
	http     *http.Client
	endpoint string
	location string // as the server has given it
	answer   string

	agent *ice.Agent
	conn  *ice.Conn
	pipe  *dtlssrtp.Pipe // by which DTLS sees conn
	dtls  *dtls.Conn
	cert  tls.Certificate
	out   *srtp.Context
	in    *srtp.Context // of the reader
	work  sync.WaitGroup

	mu      sync.Mutex // guards what follows, and out
	sound   obsStream
	layers  []*obsStream // the highest first
	ignored int          // packets of lower layers that were asked for again
	again   int          // packets that were sent again
}

// An obsStream is what one SSRC sends.
type obsStream struct {
	ssrc   uint32
	rid    string
	seq    uint16
	sealed map[uint16][]byte // nil: nothing is sent again
}

const (
	obsToken     = "stream-key"
	obsSoundSSRC = 1874461263 // of the offers in internal/receive/testdata
)

// newOBS starts an OBS that publishes with an offer of internal/receive/testdata to a WHIP
// endpoint.
func newOBS(t *testing.T, host *cdntest.Host, offer, endpoint string) *obs {
	o := &obs{t: t, endpoint: endpoint, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return host.DialTCP(ctx, netip.MustParseAddrPort(address))
		},
	}}}
	o.sound = obsStream{ssrc: obsSoundSSRC, sealed: make(map[uint16][]byte)}
	var err error
	o.agent, err = ice.NewAgentWithOptions(
		ice.WithNet(pionnet.New(host.Net())), ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}),
		ice.WithCandidateTypes([]ice.CandidateType{ice.CandidateTypeHost}), ice.WithMulticastDNSMode(ice.MulticastDNSModeDisabled),
	)
	require.NoError(t, err)
	o.cert, err = selfsign.GenerateSelfSigned()
	require.NoError(t, err)
	o.post(o.ownOffer(offer))
	o.connect()
	return o
}

// ownOffer returns a recorded offer with our credentials, certificate and candidate.
func (o *obs) ownOffer(name string) string {
	raw, err := os.ReadFile(filepath.Join("..", "receive", "testdata", "offers", name+".sdp"))
	require.NoError(o.t, err)
	offer := string(raw)
	for _, m := range regexp.MustCompile(`a=rid:(\d) send`).FindAllStringSubmatch(offer, -1) {
		o.layers = append(o.layers, &obsStream{rid: m[1]})
	}
	if len(o.layers) == 0 {
		o.layers = []*obsStream{{}}
	}
	for i, l := range o.layers {
		l.ssrc = obsSoundSSRC + 1 + uint32(i)
	}
	o.layers[0].sealed = make(map[uint16][]byte)
	gathered := make(chan struct{})
	require.NoError(o.t, o.agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
		}
	}))
	require.NoError(o.t, o.agent.GatherCandidates())
	<-gathered
	all, err := o.agent.GetLocalCandidates()
	require.NoError(o.t, err)
	require.NotEmpty(o.t, all)
	ufrag, pwd, err := o.agent.GetLocalUserCredentials()
	require.NoError(o.t, err)
	leaf, err := x509.ParseCertificate(o.cert.Certificate[0])
	require.NoError(o.t, err)
	sum, err := fingerprint.Fingerprint(leaf, crypto.SHA256)
	require.NoError(o.t, err)
	for line, own := range map[string]string{
		"ice-ufrag": ufrag, "ice-pwd": pwd, "fingerprint": "sha-256 " + strings.ToUpper(sum), "candidate": all[0].Marshal(),
	} {
		offer = regexp.MustCompile(`(?m)^a=`+line+`:[^\r\n]*`).ReplaceAllLiteralString(offer, "a="+line+":"+own)
	}
	return offer
}

// request makes a request of the session's, as OBS does.
func (o *obs) request(method, url, body string) (*http.Response, string) {
	req, err := http.NewRequestWithContext(o.t.Context(), method, url, strings.NewReader(body))
	require.NoError(o.t, err)
	req.Header.Set("Authorization", "Bearer "+obsToken)
	req.Header.Set("User-Agent", "Mozilla/5.0 (OBS-Studio/32.1.0; Linux x86_64; en-US)")
	if body != "" {
		req.Header.Set("Content-Type", "application/sdp")
	}
	resp, err := o.http.Do(req)
	require.NoError(o.t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(o.t, err)
	require.NoError(o.t, resp.Body.Close())
	return resp, string(text)
}

// post publishes.
func (o *obs) post(offer string) {
	resp, answer := o.request(http.MethodPost, o.endpoint, offer)
	require.Equal(o.t, http.StatusCreated, resp.StatusCode, answer)
	require.NotEmpty(o.t, answer)
	o.location, o.answer = resp.Header.Get("Location"), answer
	require.NotEmpty(o.t, o.location)
}

// resource returns the session's URL. Of a Location that is no URL, OBS puts the whole text
// in the place of the path of the endpoint's URL, and leaves out the query.
func (o *obs) resource() string {
	if strings.HasPrefix(o.location, "http") {
		return o.location
	}
	scheme, rest, _ := strings.Cut(o.endpoint, "://")
	host, _, _ := strings.Cut(rest, "/")
	return scheme + "://" + host + o.location
}

// line returns the value of the answer's first attribute of a name.
func (o *obs) line(name string) string {
	_, rest, found := strings.Cut(o.answer, "\na="+name+":")
	require.True(o.t, found, "no %s in the answer", name)
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// connect has ICE check the candidates of the answer, and DTLS agree on keys.
func (o *obs) connect() {
	for _, m := range regexp.MustCompile(`(?m)^a=candidate:(.* udp .*?)\r?$`).FindAllStringSubmatch(o.answer, -1) {
		c, err := ice.UnmarshalCandidate(m[1])
		require.NoError(o.t, err)
		require.NoError(o.t, o.agent.AddRemoteCandidate(c))
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), 10*time.Second)
	defer cancel()
	var err error
	o.conn, err = o.agent.Dial(ctx, o.line("ice-ufrag"), o.line("ice-pwd"))
	require.NoError(o.t, err)
	o.pipe = dtlssrtp.NewPipe(func(record []byte) error {
		_, err := o.conn.Write(record)
		return err
	})
	o.work.Go(o.read)
	client := o.line("setup") != "active"
	o.dtls, err = o.openDTLS(client)
	require.NoError(o.t, err)
	require.NoError(o.t, o.dtls.HandshakeContext(ctx))
	o.agree(client)
}

// openDTLS returns a connection that has yet to shake hands.
func (o *obs) openDTLS(client bool) (*dtls.Conn, error) {
	profiles := dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	own, anyone, verify := dtls.WithCertificates(o.cert), dtls.WithInsecureSkipVerify(true), dtls.WithVerifyPeerCertificate(o.verify)
	if client {
		return dtls.ClientWithOptions(o.pipe, o.conn.RemoteAddr(), profiles, own, anyone, verify)
	}
	return dtls.ServerWithOptions(o.pipe, o.conn.RemoteAddr(), profiles, own, anyone, verify, dtls.WithClientAuth(dtls.RequireAnyClientCert))
}

// verify compares the server's certificate with the answer.
func (o *obs) verify(chain [][]byte, _ [][]*x509.Certificate) error {
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return err
	}
	sum, err := fingerprint.Fingerprint(leaf, crypto.SHA256)
	if err != nil {
		return err
	}
	if !strings.EqualFold("sha-256 "+sum, o.line("fingerprint")) {
		return errors.New("another certificate than in the answer")
	}
	return nil
}

// agree makes the SRTP contexts.
func (o *obs) agree(client bool) {
	const profile = srtp.ProtectionProfileAes128CmHmacSha1_80
	state, ok := o.dtls.ConnectionState()
	require.True(o.t, ok)
	c := srtp.Config{Profile: profile}
	require.NoError(o.t, c.ExtractSessionKeysFromDTLS(&state, client))
	out, err := srtp.CreateContext(c.Keys.LocalMasterKey, c.Keys.LocalMasterSalt, profile)
	require.NoError(o.t, err)
	in, err := srtp.CreateContext(c.Keys.RemoteMasterKey, c.Keys.RemoteMasterSalt, profile)
	require.NoError(o.t, err)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.out, o.in = out, in
}

// read hands records to DTLS, and hears feedback.
func (o *obs) read() {
	buf := make([]byte, 1500)
	for {
		n, err := o.conn.Read(buf)
		if err != nil {
			return
		}
		switch b := buf[:n]; {
		case b[0] >= 20 && b[0] < 64:
			o.pipe.Put(b)
		case n > 1 && b[0]>>6 == 2 && b[1] >= 192 && b[1] < 224:
			o.hear(b)
		}
	}
}

// hear answers what is asked for again.
func (o *obs) hear(sealed []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.in == nil {
		return
	}
	raw, err := o.in.DecryptRTCP(nil, sealed, nil)
	if err != nil {
		return
	}
	all, err := rtcp.Unmarshal(raw)
	if err != nil {
		return
	}
	for _, p := range all {
		nack, ok := p.(*rtcp.TransportLayerNack)
		if !ok {
			continue
		}
		for _, pair := range nack.Nacks {
			for _, seq := range pair.PacketList() {
				o.repeat(nack.MediaSSRC, seq)
			}
		}
	}
}

// repeat sends a packet again, if that is done for its stream. The caller has the lock.
func (o *obs) repeat(ssrc uint32, seq uint16) {
	for _, s := range append([]*obsStream{&o.sound}, o.layers...) {
		switch {
		case s.ssrc != ssrc:
		case s.sealed == nil:
			o.ignored++
		case s.sealed[seq] != nil:
			o.again++
			_, _ = o.conn.Write(s.sealed[seq])
		}
	}
}

// send sends a packet of sound, or of a layer.
func (o *obs) send(s *obsStream, pt uint8, ts uint32, marker bool, payload []byte) {
	h := rtp.Header{Version: 2, PayloadType: pt, SSRC: s.ssrc, SequenceNumber: s.seq, Timestamp: ts, Marker: marker}
	if s.rid != "" {
		require.NoError(o.t, h.SetExtension(1, []byte("1")))
		require.NoError(o.t, h.SetExtension(2, []byte(s.rid)))
	}
	raw, err := (&rtp.Packet{Header: h, Payload: payload}).Marshal()
	require.NoError(o.t, err)
	o.mu.Lock()
	defer o.mu.Unlock()
	sealed, err := o.out.EncryptRTP(nil, raw, nil)
	require.NoError(o.t, err)
	if s.sealed != nil {
		s.sealed[s.seq] = sealed
	}
	s.seq++
	_, err = o.conn.Write(sealed)
	require.NoError(o.t, err)
}

// report sends a sender report.
func (o *obs) report(s *obsStream, ts uint32) {
	raw, err := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{SSRC: s.ssrc, NTPTime: ntpOf(time.Now()), RTPTime: ts}})
	require.NoError(o.t, err)
	o.mu.Lock()
	defer o.mu.Unlock()
	sealed, err := o.out.EncryptRTCP(nil, raw, nil)
	require.NoError(o.t, err)
	_, err = o.conn.Write(sealed)
	require.NoError(o.t, err)
}

// stream sends frames numbered from first on, with a keyframe each second as OBS advises.
func (o *obs) stream(first, frames int) {
	const fps = 30
	for n := first; n < first+frames; n++ {
		for i, l := range o.layers {
			kind, packets := byte(0x41), [][]byte(nil)
			if n%fps == 0 {
				kind, packets = 0x65, [][]byte{sps, pps}
			}
			packets = append(packets, slice(kind, n))
			for range 3 - i { // the highest has the highest bitrate
				packets = append(packets, append([]byte{kind, 0x08, byte(n >> 8), byte(n)}, make([]byte, 1000)...))
			}
			for j, payload := range packets {
				o.send(l, 96, uint32(n*90000/fps), j == len(packets)-1, payload)
			}
		}
		o.send(&o.sound, 111, uint32(n*48000/fps), false, []byte{0xf8, 0xff, 0xfe})
		if n%fps == 0 {
			o.report(o.layers[0], uint32(n*90000/fps))
			o.report(&o.sound, uint32(n*48000/fps))
		}
		time.Sleep(time.Second / fps)
	}
}

// stop ends the session, as OBS does.
func (o *obs) stop() (status int) {
	_ = o.dtls.Close()
	_ = o.agent.Close()
	o.work.Wait()
	_ = o.pipe.Close()
	resp, _ := o.request(http.MethodDelete, o.resource(), "")
	return resp.StatusCode
}
