package cdn

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecide(t *testing.T) {
	for name, tc := range map[string]struct {
		offer   offer
		follows bool
		want    verdict
	}{
		"the active input":                         {offer{kind: Video, active: true}, false, forward},
		"the active input, sound":                  {offer{kind: Audio, active: true, keyframe: true}, false, forward},
		"another is about to go on":                {offer{kind: Video, active: true, stopped: true}, false, hold},
		"another is, at a jump":                    {offer{kind: Video, active: true, stopped: true, resync: true, keyframe: true}, false, hold},
		"of before a jump":                         {offer{kind: Video, active: true, resync: true, old: true, keyframe: true}, false, discard},
		"after a jump without a gap":               {offer{kind: Video, active: true, resync: true}, false, resume},
		"after a gap":                              {offer{kind: Video, active: true, resync: true, gap: true, frameStart: true}, false, skip},
		"a keyframe after a gap":                   {offer{kind: Video, active: true, resync: true, gap: true, keyframe: true}, false, resume},
		"sound after a gap":                        {offer{kind: Audio, active: true, resync: true, gap: true}, false, resume},
		"after a gap, long waited":                 {offer{kind: Video, active: true, resync: true, gap: true, frameStart: true, waited: true}, false, resume},
		"after a gap, long waited, within a frame": {offer{kind: Video, active: true, resync: true, gap: true, waited: true}, false, skip},
		"the first input":                          {offer{kind: Video, leads: true, vacant: true}, false, take},
		"an older input than the active one":       {offer{kind: Video, started: true, keyframe: true, next: true}, false, await},
		"the same sender with another SSRC":        {offer{kind: Video, leads: true, started: true, vacant: true}, true, take},
		"the same sender, late":                    {offer{kind: Video, leads: true, started: true, vacant: true, keyframe: true, late: true}, true, take},
		"a keyframe":                               {offer{kind: Video, leads: true, started: true, keyframe: true, frameStart: true}, false, take},
		"no keyframe":                              {offer{kind: Video, leads: true, started: true, frameStart: true}, false, await},
		"no keyframe, and nothing comes":           {offer{kind: Video, leads: true, started: true, vacant: true, frameStart: true}, false, await},
		"a keyframe that was shown":                {offer{kind: Video, leads: true, started: true, keyframe: true, late: true}, false, awaitKeyframe},
		"the same encoder's next frame":            {offer{kind: Video, leads: true, started: true, vacant: true, frameStart: true, next: true}, false, takeNext},
		"the same encoder's, within the frame":     {offer{kind: Video, leads: true, started: true, vacant: true, next: true}, false, await},
		"the same encoder's, and the active comes": {offer{kind: Video, leads: true, started: true, frameStart: true, next: true}, false, await},
		"sound ahead of its video":                 {offer{kind: Audio, leads: true, started: true, keyframe: true}, false, await},
		"sound ahead of its video, and no other":   {offer{kind: Audio, leads: true, started: true, keyframe: true, vacant: true}, false, take},
		"sound of an input that has taken a layer": {offer{kind: Audio, leads: true, started: true, keyframe: true, joined: true}, false, take},
		"sound that was heard":                     {offer{kind: Audio, leads: true, started: true, keyframe: true, joined: true, late: true}, false, await},
		"sound that was heard, and no other":       {offer{kind: Audio, leads: true, started: true, keyframe: true, vacant: true, late: true}, false, await},
	} {
		assert.Equal(t, tc.want, tc.offer.decide(tc.follows), name)
	}
}

// What must never happen, whatever a packet and the state of its layer are like.
func TestDecideInvariants(t *testing.T) {
	for bits := range uint32(1) << 14 {
		flag := func(n int) bool { return bits>>n&1 != 0 }
		for _, kind := range []Kind{Audio, Video} {
			o := offer{
				kind: kind, keyframe: flag(0) || kind == Audio, frameStart: flag(1), active: flag(2),
				stopped: flag(3), resync: flag(4), old: flag(5), gap: flag(6), waited: flag(7),
				leads: flag(8), started: flag(9), vacant: flag(10), next: flag(11), joined: flag(12), late: flag(13),
			}
			for _, follows := range []bool{false, true} {
				requireSound(t, o, follows, o.decide(follows))
			}
		}
	}
}

func requireSound(t *testing.T, o offer, follows bool, v verdict) {
	t.Helper()
	takes := v == take || v == takeNext
	anew := o.started && !follows // what receivers have seen has to be continued
	switch {
	case o.active && (takes || v == await || v == awaitKeyframe):
		require.Fail(t, "the input feeds the layer already", "%+v: %d", o, v)
	case !o.active && !takes && v != await && v != awaitKeyframe:
		require.Fail(t, "the input does not feed the layer", "%+v: %d", o, v)
	case takes && !o.leads:
		require.Fail(t, "another input has precedence", "%+v: %d", o, v)
	case v == take && anew && o.late:
		require.Fail(t, "what was shown is shown again", "%+v: %d", o, v)
	case v == take && anew && !o.keyframe:
		require.Fail(t, "no decoder can begin here", "%+v: %d", o, v)
	case v == takeNext && (!o.vacant || !o.next || !o.frameStart):
		require.Fail(t, "two inputs feed the layer, or a frame is torn", "%+v: %d", o, v)
	case v == resume && (o.old || o.stopped || !o.resync):
		require.Fail(t, "there is nothing to resume", "%+v: %d", o, v)
	case v == awaitKeyframe && (o.kind == Audio || !o.late):
		require.Fail(t, "another keyframe does not help", "%+v: %d", o, v)
	case v == forward && (o.resync || o.stopped):
		require.Fail(t, "the numbers do not continue", "%+v: %d", o, v)
	}
}
