package codec

// heightH264 reads a sequence parameter set (H.264 section 7.3.2.1.1).
func heightH264(p []byte) int {
	nal := unit(p, 1, h264STAPA, func(b byte) byte { return b & 0x1f }, h264SPS)
	if len(nal) < 4 {
		return 0
	}
	r := bits{p: nal[1:]}
	profile := r.read(8)
	r.read(8 + 8) // constraints, level_idc
	r.golomb()    // seq_parameter_set_id
	chroma := 1
	if hasChroma(profile) {
		chroma = r.chroma()
	}
	r.golomb()          // log2_max_frame_num_minus4
	switch r.golomb() { // pic_order_cnt_type
	case 0:
		r.golomb()
	case 1:
		r.read(1)
		r.golomb()
		r.golomb()
		for range r.golomb() {
			if r.golomb(); r.short {
				return 0
			}
		}
	}
	r.golomb() // max_num_ref_frames
	r.read(1)
	r.golomb() // pic_width_in_mbs_minus1
	units := r.golomb() + 1
	fields := 2 - r.read(1) // frame_mbs_only_flag
	if fields == 2 {
		r.read(1)
	}
	r.read(1) // direct_8x8_inference_flag
	height := 16 * fields * units
	if r.flag() { // frame_cropping_flag
		height -= fields * rowsOf(chroma) * r.cropped()
	}
	if r.short {
		return 0
	}
	return height
}

// hasChroma reports whether a parameter set of a profile says what its samples are.
func hasChroma(profile int) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

// chroma reads the fields from chroma_format_idc to the scaling lists, and returns the first.
func (b *bits) chroma() int {
	format := b.golomb()
	lists := 8
	if format == 3 {
		b.read(1)
		lists = 12
	}
	b.golomb()
	b.golomb()
	b.read(1)
	if !b.flag() { // seq_scaling_matrix_present_flag
		return format
	}
	for i := range lists {
		if !b.flag() {
			continue
		}
		size, last, next := 16, 8, 8
		if i >= 6 {
			size = 64
		}
		for range size {
			if next != 0 {
				next = (last + b.signed() + 256) % 256
			}
			if next != 0 {
				last = next
			}
		}
	}
	return format
}

// signed reads a signed number in Exp-Golomb code (H.264 section 9.1.1).
func (b *bits) signed() int {
	n := b.golomb()
	if n%2 == 0 {
		return -n / 2
	}
	return n/2 + 1
}

// rowsOf returns how many rows of samples one unit of cropping is.
func rowsOf(chroma int) int {
	if chroma == 1 { // 4:2:0
		return 2
	}
	return 1
}

// cropped reads a cropping window, and returns how many units it takes off the height.
func (b *bits) cropped() int {
	b.golomb()
	b.golomb()
	return b.golomb() + b.golomb()
}

// heightH265 reads a sequence parameter set (H.265 section 7.3.2.2.1).
func heightH265(p []byte) int {
	nal := unit(p, 2, h265AP, func(b byte) byte { return b >> 1 & 0x3f }, h265SPS)
	if len(nal) < 4 {
		return 0
	}
	r := bits{p: nal[2:]}
	r.read(4) // sps_video_parameter_set_id
	layers := r.read(3)
	r.read(1)
	r.profileTierLevel(layers)
	r.golomb() // sps_seq_parameter_set_id
	chroma := r.golomb()
	if chroma == 3 {
		r.read(1)
	}
	r.golomb() // pic_width_in_luma_samples
	height := r.golomb()
	if r.flag() { // conformance_window_flag
		height -= rowsOf(chroma) * r.cropped()
	}
	if r.short {
		return 0
	}
	return height
}

// profileTierLevel skips profile_tier_level (H.265 section 7.3.3).
func (b *bits) profileTierLevel(layers int) {
	const profile, level = 88, 8
	b.read(profile)
	b.read(level)
	if layers == 0 {
		return
	}
	var has [8][2]bool
	for i := range 8 {
		if i < layers {
			has[i] = [2]bool{b.flag(), b.flag()}
		} else {
			b.read(2)
		}
	}
	for _, h := range has {
		if h[0] {
			b.read(profile)
		}
		if h[1] {
			b.read(level)
		}
	}
}
