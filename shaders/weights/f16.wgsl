// A weight stored as f16 (see f32.wgsl for what this file offers), decoded by integer arithmetic:
// unpack2x16float may flush subnormals to zero, and so may any operation on an f32 that is subnormal itself.
@group(0) @binding(30) var<storage, read> weights: array<vec2u>;

// The f16 in the low 16 bits of each lane. Exponent and fraction are moved to f32's places and the exponent's bias
// is corrected by an integer sum, twice over for infinities and NaN, whose exponent is the largest in f32 too.
// A subnormal is its fraction times 2⁻²⁴, a product of two ordinary numbers.
fn decode(half: vec4u) -> vec4f {
  let exponent = half & vec4u(0x7c00u);
  let correction = select(vec4u(0x38000000u), vec4u(0x70000000u), exponent == vec4u(0x7c00u));
  let ordinary = ((half & vec4u(0x7fffu)) << vec4u(13u)) + correction;
  let subnormal = bitcast<vec4u>(vec4f(half & vec4u(0x03ffu)) * 0x1p-24f);
  let magnitude = select(ordinary, subnormal, exponent == vec4u(0u));
  return bitcast<vec4f>(magnitude | ((half & vec4u(0x8000u)) << vec4u(16u)));
}

fn weight4(i: u32) -> vec4f {
  let pair = weights[i];
  return decode(vec4u(pair.x & 0xffffu, pair.x >> 16u, pair.y & 0xffffu, pair.y >> 16u));
}

fn weight(i: u32) -> f32 {
  return weight4(i >> 2u)[i & 3u];
}
