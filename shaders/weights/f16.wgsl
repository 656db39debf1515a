// A weight stored as f16 (see f32.wgsl for what this file offers), decoded by integer arithmetic:
// unpack2x16float may flush subnormals to zero.
@group(0) @binding(30) var<storage, read> weights: array<vec2u>;

// The f16 in the low 16 bits of each lane. Exponent and mantissa are moved to f32's places; the product with 2¹¹²
// then corrects the exponent's bias, and is exact for subnormals too. Infinities and NaN are set by hand.
fn decode(half: vec4u) -> vec4f {
  let magnitude = bitcast<vec4f>((half & vec4u(0x7fffu)) << vec4u(13u)) * bitcast<f32>(0x77800000u);
  let special = bitcast<vec4f>(((half & vec4u(0x7fffu)) << vec4u(13u)) | vec4u(0x7f800000u));
  let value = select(magnitude, special, (half & vec4u(0x7c00u)) == vec4u(0x7c00u));
  return bitcast<vec4f>(bitcast<vec4u>(value) | ((half & vec4u(0x8000u)) << vec4u(16u)));
}

fn weight4(i: u32) -> vec4f {
  let pair = weights[i];
  return decode(vec4u(pair.x & 0xffffu, pair.x >> 16u, pair.y & 0xffffu, pair.y >> 16u));
}

fn weight(i: u32) -> f32 {
  return weight4(i >> 2u)[i & 3u];
}
