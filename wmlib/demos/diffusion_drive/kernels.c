// What costs time in a denoiser's pass, for WebAssembly with its vectors of four numbers.
//
// `python book/_make/kernels.py` compiles this into kernels.wasm.js, which is committed, because
// neither pages nor `make setup` have a compiler; it says what it needs.
//
// Pictures are stored with channels last and a border of one pixel, (H + 2, W + 2, C), which stays
// zero: so a convolution never asks whether it stands at an edge. kernels.js holds the same
// functions in plain JavaScript, for browsers without WebAssembly, and says what each means.

#include <wasm_simd128.h>

#define EXPORT(name) __attribute__((export_name(#name))) void name

static inline v128_t fma4(v128_t sum, v128_t a, v128_t b) {
  return wasm_f32x4_add(sum, wasm_f32x4_mul(a, b));
}

// Four pixels side by side and eight of their channels are summed at a time: eight sums, two runs of
// weights and one number of the input are eleven of the sixteen registers that x86 has.
EXPORT(convolve)(const float *x, int inputs, int across, const float *weight, const float *bias,
                 const float *from, float *y, int outputs, int side, int kernel, int stride) {
  const int run = kernel * inputs;        // numbers of one row that a pixel reads, side by side
  const int row = across * inputs;        // of the input
  const int step = stride * inputs;       // from a pixel's numbers to the next one's
  const int inset = kernel == 1 ? row + inputs : 0;
  for (int o = 0; o < outputs; o += 8, weight += 8 * kernel * run) {
    const v128_t low = wasm_v128_load(bias + o), high = wasm_v128_load(bias + o + 4);
    for (int i = 0; i < side; i++) {
      for (int j = 0; j < side; j += 4) {
        const int at = ((i + 1) * (side + 2) + j + 1) * outputs + o;
        v128_t a0 = low, a1 = low, a2 = low, a3 = low, b0 = high, b1 = high, b2 = high, b3 = high;
        if (from) {
          const float *f = from + at;
          a0 = wasm_f32x4_add(a0, wasm_v128_load(f)), b0 = wasm_f32x4_add(b0, wasm_v128_load(f + 4));
          f += outputs;
          a1 = wasm_f32x4_add(a1, wasm_v128_load(f)), b1 = wasm_f32x4_add(b1, wasm_v128_load(f + 4));
          f += outputs;
          a2 = wasm_f32x4_add(a2, wasm_v128_load(f)), b2 = wasm_f32x4_add(b2, wasm_v128_load(f + 4));
          f += outputs;
          a3 = wasm_f32x4_add(a3, wasm_v128_load(f)), b3 = wasm_f32x4_add(b3, wasm_v128_load(f + 4));
        }
        const float *w = weight;
        for (int k = 0; k < kernel; k++) {
          const float *p0 = x + inset + (stride * i + k) * row + j * step;
          const float *p1 = p0 + step, *p2 = p1 + step, *p3 = p2 + step;
#pragma clang loop unroll_count(2)
          for (int c = 0; c < run; c++, w += 8) {
            const v128_t w0 = wasm_v128_load(w), w1 = wasm_v128_load(w + 4);
            const v128_t s0 = wasm_v128_load32_splat(p0 + c), s1 = wasm_v128_load32_splat(p1 + c);
            const v128_t s2 = wasm_v128_load32_splat(p2 + c), s3 = wasm_v128_load32_splat(p3 + c);
            a0 = fma4(a0, s0, w0), b0 = fma4(b0, s0, w1);
            a1 = fma4(a1, s1, w0), b1 = fma4(b1, s1, w1);
            a2 = fma4(a2, s2, w0), b2 = fma4(b2, s2, w1);
            a3 = fma4(a3, s3, w0), b3 = fma4(b3, s3, w1);
          }
        }
        float *out = y + at;
        wasm_v128_store(out, a0), wasm_v128_store(out + 4, b0), out += outputs;
        wasm_v128_store(out, a1), wasm_v128_store(out + 4, b1), out += outputs;
        wasm_v128_store(out, a2), wasm_v128_store(out + 4, b2), out += outputs;
        wasm_v128_store(out, a3), wasm_v128_store(out + 4, b3);
      }
    }
  }
}

// e^x to the last bit or two of float32: 2^n e^r with |r| <= ln(2) / 2, and e^r by the polynomial of
// Cephes' expf (Moshier 1992).
static inline v128_t exp4(v128_t x) {
  x = wasm_f32x4_min(wasm_f32x4_max(x, wasm_f32x4_splat(-87)), wasm_f32x4_splat(87));
  const v128_t n = wasm_f32x4_nearest(wasm_f32x4_mul(x, wasm_f32x4_splat(1.44269504f)));
  v128_t r = fma4(x, n, wasm_f32x4_splat(-0.693359375f));
  r = fma4(r, n, wasm_f32x4_splat(2.12194440e-4f));
  v128_t p = wasm_f32x4_splat(1.9875691500e-4f);
  p = fma4(wasm_f32x4_splat(1.3981999507e-3f), p, r);
  p = fma4(wasm_f32x4_splat(8.3334519073e-3f), p, r);
  p = fma4(wasm_f32x4_splat(4.1665795894e-2f), p, r);
  p = fma4(wasm_f32x4_splat(1.6666665459e-1f), p, r);
  p = fma4(wasm_f32x4_splat(5.0000001201e-1f), p, r);
  p = fma4(wasm_f32x4_add(r, wasm_f32x4_splat(1)), p, wasm_f32x4_mul(r, r));
  const v128_t power = wasm_i32x4_shl(wasm_i32x4_add(wasm_i32x4_trunc_sat_f32x4(n),
                                                     wasm_i32x4_splat(127)), 23);
  return wasm_f32x4_mul(p, power);
}

static inline float total(v128_t v) {
  return wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1) +
         wasm_f32x4_extract_lane(v, 2) + wasm_f32x4_extract_lane(v, 3);
}

// A row's sum is float32, what rows sum to is float64: a mean over thousands keeps its digits.
EXPORT(normalise)(const float *x, float *y, int side, int channels, int groups, const float *scale,
                  const float *shift) {
  const int own = channels / groups, row = (side + 2) * channels;
  const double count = (double)own * side * side;
  const v128_t one = wasm_f32x4_splat(1);
  for (int g = 0; g < channels; g += own) {
    const int inset = row + channels + g;
    double sum = 0, squares = 0;
    for (int i = 0; i < side; i++) {
      v128_t part = wasm_f32x4_splat(0);
      for (int j = 0; j < side; j++) {
        const float *p = x + inset + i * row + j * channels;
        for (int c = 0; c < own; c += 4) part = wasm_f32x4_add(part, wasm_v128_load(p + c));
      }
      sum += total(part);
    }
    const v128_t mean = wasm_f32x4_splat((float)(sum / count));
    for (int i = 0; i < side; i++) {
      v128_t part = wasm_f32x4_splat(0);
      for (int j = 0; j < side; j++) {
        const float *p = x + inset + i * row + j * channels;
        for (int c = 0; c < own; c += 4) {
          const v128_t d = wasm_f32x4_sub(wasm_v128_load(p + c), mean);
          part = fma4(part, d, d);
        }
      }
      squares += total(part);
    }
    const v128_t rate = wasm_f32x4_splat((float)(1 / __builtin_sqrt(squares / count + 1e-5)));
    for (int i = 0; i < side; i++) {
      for (int j = 0; j < side; j++) {
        const int at = inset + i * row + j * channels;
        for (int c = 0; c < own; c += 4) {
          const v128_t d = wasm_f32x4_sub(wasm_v128_load(x + at + c), mean);
          const v128_t v = fma4(wasm_v128_load(shift + g + c), wasm_f32x4_mul(d, rate),
                                wasm_v128_load(scale + g + c));
          const v128_t e = exp4(wasm_f32x4_neg(v));
          wasm_v128_store(y + at + c, wasm_f32x4_div(v, wasm_f32x4_add(one, e)));
        }
      }
    }
  }
}
