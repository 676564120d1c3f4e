package dtlssrtp

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pion/srtp/v3"
	"github.com/stretchr/testify/require"
)

// report is a receiver report without blocks.
func report(ssrc uint32, more ...byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, byte(1 + len(more)/4)}, ssrc), more...)
}

// What we seal another implementation opens, and the other way round.
func TestControlIsReadByOthers(t *testing.T) {
	eachProfile(t, func(t *testing.T, p srtp.ProtectionProfile, key, salt []byte) {
		s, err := NewSealer(p, key, salt)
		require.NoError(t, err)
		o, err := NewOpener(p, key, salt, 2)
		require.NoError(t, err)
		pion, err := srtp.CreateContext(key, salt, p, srtp.SRTCPReplayProtection(64))
		require.NoError(t, err)
		theirs, err := srtp.CreateContext(key, salt, p)
		require.NoError(t, err)
		for i := range 100 {
			for _, ssrc := range []uint32{7, 0xfedcba98} {
				plain := report(ssrc, make([]byte, 4*(i%5))...)
				sealed, err := s.RTCP(plain)
				require.NoError(t, err)
				opened, err := pion.DecryptRTCP(nil, sealed, nil)
				require.NoError(t, err)
				require.Equal(t, plain, opened)

				sealed, err = theirs.EncryptRTCP(nil, plain, nil)
				require.NoError(t, err)
				opened, err = o.Open(sealed)
				require.NoError(t, err)
				require.Equal(t, plain, opened)
			}
		}
	})
}

// Nothing is believed that was changed, or cut short, or was there before.
func TestForgedControl(t *testing.T) {
	eachProfile(t, func(t *testing.T, p srtp.ProtectionProfile, key, salt []byte) {
		s, err := NewSealer(p, key, salt)
		require.NoError(t, err)
		o, err := NewOpener(p, key, salt, 16)
		require.NoError(t, err)
		var sealed [][]byte
		for range 70 {
			one, err := s.RTCP(report(7, 1, 2, 3, 4))
			require.NoError(t, err)
			sealed = append(sealed, one)
		}
		refused := func(b []byte) {
			t.Helper()
			_, err := o.Open(slices.Clone(b))
			require.ErrorIs(t, err, ErrNotAuthentic)
		}
		for i := range sealed[0] {
			for bit := range 8 {
				forged := slices.Clone(sealed[0])
				forged[i] ^= 1 << bit
				refused(forged)
			}
			refused(sealed[0][:i])
		}
		opens := func(i int) {
			t.Helper()
			_, err := o.Open(slices.Clone(sealed[i]))
			require.NoError(t, err)
			refused(sealed[i])
		}
		opens(3)
		opens(1)
		opens(69)
		opens(6)
		refused(sealed[5]) // older than is remembered
		opens(68)
		refused(sealed[3])
	})
}

// Those who make up SSRCs do not make us remember them, and nobody else does.
func TestSourcesAreBounded(t *testing.T) {
	eachProfile(t, func(t *testing.T, p srtp.ProtectionProfile, key, salt []byte) {
		o, err := NewOpener(p, key, salt, 16)
		require.NoError(t, err)
		theirs, err := srtp.CreateContext(key, salt, p)
		require.NoError(t, err)
		open := func(ssrc uint32, forged byte) error {
			sealed, err := theirs.EncryptRTCP(nil, report(ssrc, 0, 0, 0, forged), nil)
			require.NoError(t, err)
			sealed[11] ^= forged
			_, err = o.Open(sealed)
			return err
		}
		for ssrc := range uint32(1000) {
			require.Error(t, open(ssrc, 1))
		}
		for ssrc := range uint32(1000) {
			// The one heard least recently makes room, except where pion's context keeps
			// something of each for ever.
			refused := ssrc >= 16 && p == srtp.ProtectionProfileAes128CmHmacSha1_80
			require.Equal(t, refused, open(ssrc, 0) != nil)
		}
		require.Len(t, o.windows, 16)
	})
}

// After 2^31 packets the keys are used up (RFC 3711 section 9.2).
func TestControlWearsOut(t *testing.T) {
	s, err := NewSealer(srtp.ProtectionProfileAeadAes128Gcm, make([]byte, 16), make([]byte, 12))
	require.NoError(t, err)
	o, err := NewOpener(srtp.ProtectionProfileAeadAes128Gcm, make([]byte, 16), make([]byte, 12), 1)
	require.NoError(t, err)
	s.index = encrypted - 1
	sealed, err := s.RTCP(report(7))
	require.NoError(t, err)
	_, err = o.Open(sealed)
	require.NoError(t, err)
	_, err = s.RTCP(report(7))
	require.Error(t, err)
}

func FuzzOpen(f *testing.F) {
	s, err := NewSealer(srtp.ProtectionProfileAeadAes128Gcm, make([]byte, 16), make([]byte, 12))
	require.NoError(f, err)
	sealed, err := s.RTCP(report(7, 1, 2, 3, 4))
	require.NoError(f, err)
	f.Add(sealed)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range srtpProfiles {
			keyLen, _ := p.KeyLen()
			saltLen, _ := p.SaltLen()
			o, err := NewOpener(p, append(make([]byte, keyLen-1), 1), make([]byte, saltLen), 1)
			require.NoError(t, err)
			_, err = o.Open(slices.Clone(b))
			require.Error(t, err)
		}
	})
}
