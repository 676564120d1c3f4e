package viewer_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/stretchr/testify/require"

	"github.com/deltacdn/delta/internal/pc/pcsend"
	"github.com/deltacdn/delta/signal"
)

// A viewer that is told that it may ask for the time is answered, whatever its
// session is made of.
func TestViewersMeasureTheirRoundTrip(t *testing.T) {
	for name, answer := range map[string]func(p *place, offer string) (signal.Session, error){
		"lite": func(p *place, offer string) (signal.Session, error) { return p.answer(offer) },
		"pcsend": func(p *place, offer string) (signal.Session, error) {
			return pcsend.Answer(p.t.Context(), pcsend.Config{Node: p.node, Stream: p.stream}, offer)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inPlace(t, func(t *testing.T, p *place) {
				c := p.client("viewer", nil)
				nack := regexp.MustCompile(`(?m)^a=rtcp-fb:(\d+) nack\r\n`)
				s, err := answer(p, nack.ReplaceAllString(c.offer(t), "${0}a=rtcp-fb:$1 rrtr\r\n"))
				require.NoError(t, err)
				require.Regexp(t, `a=rtcp-fb:\d+ rrtr\r\n`, s.SDP())
				c.accept(t, s.SDP())
				p.frames(60)
				require.Positive(t, c.packets.Load())

				video := c.GetReceivers()[0]
				told := make(chan rtcp.DLRRReport, 10)
				go func() {
					for {
						packets, _, err := video.ReadRTCP()
						if err != nil {
							return
						}
						for _, packet := range packets {
							if xr, ok := packet.(*rtcp.ExtendedReport); ok {
								told <- xr.Reports[0].(*rtcp.DLRRReportBlock).Reports[0]
							}
						}
					}
				}()
				ssrc := uint32(video.Track().SSRC()) // as the viewer's own: so pion hands the answer to the receiver
				require.NoError(t, c.WriteRTCP([]rtcp.Packet{
					&rtcp.ReceiverReport{SSRC: ssrc, Reports: []rtcp.ReceptionReport{{SSRC: ssrc}}},
					&rtcp.ExtendedReport{SenderSSRC: ssrc, Reports: []rtcp.ReportBlock{
						&rtcp.ReceiverReferenceTimeReportBlock{NTPTimestamp: 0x0123456789abcdef},
					}},
				}))
				select {
				case r := <-told:
					require.Equal(t, rtcp.DLRRReport{SSRC: ssrc, LastRR: 0x456789ab}, r)
				case <-time.After(time.Second):
					t.Error("nobody answers")
				}
				require.NoError(t, s.Close())
				require.NoError(t, c.GracefulClose())
			})
		})
	}
}
