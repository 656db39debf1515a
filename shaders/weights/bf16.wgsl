// A weight stored as bf16 (see f32.wgsl for what this file offers): the upper half of an f32.
@group(0) @binding(30) var<storage, read> weights: array<vec2u>;

fn weight4(i: u32) -> vec4f {
  let pair = weights[i];
  return bitcast<vec4f>(vec4u(pair.x << 16u, pair.x & 0xffff0000u, pair.y << 16u, pair.y & 0xffff0000u));
}

fn weight(i: u32) -> f32 {
  return weight4(i >> 2u)[i & 3u];
}
